"""Packaging. `restore/recipes` in the wheel holds the option files that the checkout has in `options/`."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithRecipes(build_py):
    """Copies options/ into the package, so that an installed `restore` has its recipes at hand."""

    def run(self) -> None:
        super().run()
        recipes = (path for path in (HERE / "options").rglob("*") if path.suffix in (".yml", ".sbatch"))
        for source in sorted(recipes):
            target = Path(self.build_lib) / "restore" / "recipes" / source.relative_to(HERE / "options")
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))


def requirements(name: str) -> list[str]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in (line.split("#")[0].strip() for line in lines) if line]


setup(
    name="restore-faces",
    version=re.search(r'__version__ = "(.+)"', (HERE / "restore/__init__.py").read_text(encoding="utf-8"))[1],
    description="Trains, measures and applies face restoration models",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["restore", "restore.*"]),
    package_data={"restore": ["py.typed", "models/*.safetensors", "models/*.md"]},
    install_requires=requirements("requirements.txt"),
    extras_require={
        "dev": requirements("requirements-dev.txt"),
        "plot": ["matplotlib>=3.8"],
        "demo": ["gradio>=6,<7"],
        "export": ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"],
        "spandrel": ["spandrel>=0.4"],
        "video": ["av>=18,<19"],
    },
    entry_points={"console_scripts": ["restore = restore.cli:main"]},
    cmdclass={"build_py": BuildWithRecipes},
)
