"""Gradio's components for uploads, made to hand over files as they came, and no other file of the server.

Left alone they decode what is uploaded before anybody has looked at its size, and they take any path that a request
names: in an app that is mounted, as ours is, they copy the server's own files to where browsers can fetch them.
"""

from pathlib import Path
from typing import Any

import gradio as gr

from restore.demo.visits import is_below

NOT_OURS = "this file was not uploaded here"


def picture(files: Path, **look: Any) -> gr.Image:
    """A place for a photo, whose value is the path of the upload. `files` is where uploads lie."""
    component = gr.Image(type="filepath", image_mode=None, format="png", buttons=["fullscreen"], **look)
    _guard(component, files)

    def preprocess(payload: Any) -> Any:
        return _path_of(files, payload)

    component.preprocess = preprocess  # type: ignore[method-assign]
    return component


def painting(files: Path, **look: Any) -> gr.ImageEditor:
    """A picture to paint over, whose value are the paths of its layers."""
    brush = gr.Brush(colors=["#ff00a0"], default_color="#ff00a0", color_mode="fixed", default_size=40)
    component = gr.ImageEditor(
        type="filepath", format="png", sources=[], transforms=[], layers=False, brush=brush, buttons=[], **look
    )
    _guard(component, files)

    def preprocess(payload: Any) -> list[Path]:
        layers = payload.layers if payload else []
        return [path for layer in layers if (path := _path_of(files, layer))]

    component.preprocess = preprocess  # type: ignore[method-assign, assignment]
    return component


def _guard(component: gr.components.Component, files: Path) -> None:
    """Keeps Gradio from fetching what a path or address names, before `preprocess` sees it."""

    async def stay(path: Any) -> str | None:
        if path is not None and not is_below(files, Path(str(path))):
            raise gr.Error(NOT_OURS, print_exception=False)
        return None if path is None else str(path)

    component.async_move_resource_to_block_cache = stay  # type: ignore[method-assign, assignment]


def _path_of(files: Path, payload: Any) -> Path | None:
    if payload is None or not payload.path:
        return None
    if not is_below(files, Path(payload.path)):
        raise gr.Error(NOT_OURS, print_exception=False)
    return Path(payload.path)
