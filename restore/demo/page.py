"""The page: what is where, and which answer each button asks for."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from restore.demo import inputs, occluding
from restore.demo.answers import Answers
from restore.demo.scores import Scores
from restore.demo.uploads import open_mask, painted_mask, plain
from restore.demo.visits import Visit, Visits
from restore.errors import RestoreError

ABOUT = (
    "Choose a photo, then make it sharper or have a covered face rebuilt. "
    "Your photos stay on {where}, and are deleted when you leave this page, after ten minutes at the latest."
)
INVENTED = (
    "**What is under a mask is invented.** The model makes up a likely face; it cannot know the real one. "
    "Never use the result to recognise somebody."
)
FIND, PAINT, UPLOAD = "Find what covers the face", "I paint over it", "I have a mask picture"
DRAWN, MINE = "A drawn face", "My photo"
NO_MODEL = "No model for this is installed here. Whoever runs this page can name one: `restore demo --model FILE`."
WAITING = 20  # visitors that wait for their turn; more are told to come back
CSS = """
.gradio-container { width: 100% !important; max-width: 76rem !important; margin: 0 auto !important; }
#title h1 { margin-bottom: .2rem }
#invented { border-left: 4px solid #d97706; padding: .1rem .9rem; }
.grid-wrap { overflow: visible !important; max-height: none !important; min-height: 0 !important; }
.gradio-container :is(td, th):not(:first-child) { white-space: nowrap; }
footer { display: none !important; }
@media (max-width: 640px) { .gradio-container .main { padding: .8rem !important; } }
"""
LOG = logging.getLogger("restore.demo")


@dataclass(frozen=True)
class Shared:
    """The inputs that stand above the tabs."""

    photo: gr.Image
    truth: gr.Image
    keep_exif: gr.Checkbox


class Page:
    """The page of one server.

    Args:
        answers: what the buttons do.
        visits: where files are kept.
        where: the photos stay, as visitors are told.
    """

    def __init__(self, answers: Answers, visits: Visits, where: str = "this computer") -> None:
        self.answers, self.visits, self.where = answers, visits, where

    def build(self, jobs: int) -> Any:
        """Lays it out, as Gradio's blocks. So many `jobs` are done at a time."""
        with gr.Blocks(title="Restore", analytics_enabled=False) as page:
            gr.Markdown(f"# Restore\n{ABOUT.format(where=self.where)}", elem_id="title")
            with gr.Row():
                with gr.Column(scale=2, min_width=260):
                    shared = self._shared()
                with gr.Column(scale=5, min_width=260), gr.Tabs():
                    with gr.Tab("Super-resolution", id="sr"):
                        self._super_resolution(shared)
                    with gr.Tab("Unmask", id="unmask"):
                        canvas = self._unmask(shared)
                    with gr.Tab("Occlusions", id="occlusions"):
                        self._occlusions(shared)
            self._on_upload(shared, canvas)
            page.unload(self._leave)
        page.queue(max_size=WAITING, default_concurrency_limit=jobs, api_open=False)
        return page

    # ---------------------------------------------------------------------------------------------- what is where

    def _shared(self) -> Shared:
        limits = self.answers.limits
        photo = inputs.picture(
            self.visits.files,
            label="Your photo",
            sources=["upload", "webcam", "clipboard"],
            webcam_options=gr.WebcamOptions(mirror=False),
            height=300,
            elem_id="photo",
        )
        gr.Markdown(f"Up to {limits.mb:g} MB and {limits.pixels / 1e6:g} million pixels.")
        keep = gr.Checkbox(label="Keep what the camera wrote into the file (date, place, ...)", elem_id="keep_exif")
        with gr.Accordion("Measure with the true picture", open=False):
            truth = inputs.picture(
                self.visits.files, label="True picture, of the result's size", sources=["upload"], elem_id="truth"
            )
        return Shared(photo, truth, keep)

    def _super_resolution(self, shared: Shared) -> None:
        names = self.answers.names("sr")
        if not names:
            gr.Markdown(NO_MODEL)
            return
        with gr.Row():
            model = gr.Dropdown(names, value=names[0], label="Model", elem_id="sr_model")
            times = gr.Radio([("same size", 1), ("2x", 2), ("4x", 4)], value=self._times(names[0]), label="Enlarge")
        button = gr.Button("Make it sharper", variant="primary", elem_id="sharpen")
        shown = _places("sharpened", "sr", "Before (enlarged plainly)  |  after", "Side by side")
        self._on(button, self._sharpen, [shared.photo, model, times, shared.keep_exif, shared.truth], shown)
        model.change(self._times, model, times, **_QUIET)

    def _unmask(self, shared: Shared) -> gr.ImageEditor:
        names = self.answers.names("unmask")
        gr.Markdown(INVENTED, elem_id="invented")
        ways = [FIND, PAINT, UPLOAD] if self.answers.occluders else [PAINT, UPLOAD]
        with gr.Column(visible=bool(names)):
            with gr.Row():
                model = gr.Dropdown(names, value=names[0] if names else None, label="Model", elem_id="unmask_model")
                way = gr.Radio(ways, value=ways[0], label="What is to be rebuilt?", elem_id="way")
            with gr.Column(visible=ways[0] == PAINT) as painted:
                canvas = inputs.painting(self.visits.files, label="Paint over it", height=420, elem_id="canvas")
            with gr.Column(visible=False) as given:
                mask = inputs.picture(
                    self.visits.files,
                    label="Mask of the photo's size: white is rebuilt, black stays",
                    sources=["upload"],
                    height=260,
                    elem_id="mask",
                )
            button = gr.Button("Rebuild it", variant="primary", elem_id="rebuild")
        if not names:
            gr.Markdown(NO_MODEL)
        shown = _places("rebuilt", "unmask", "Before  |  after", "What was invented is tinted in the last picture")
        asked = [shared.photo, model, way, canvas, mask, shared.keep_exif, shared.truth]
        self._on(button, self._rebuild, asked, shown)
        way.change(_shown_for, way, [painted, given], **_QUIET)
        return canvas

    def _occlusions(self, shared: Shared) -> None:
        gr.Markdown("What training lays over faces, to learn to rebuild them: each with the mask that goes with it.")
        names = list(occluding.choices())
        with gr.Row():
            name = gr.Dropdown(names, value="FaceMask", label="Occlusion", elem_id="occlusion")
            face = gr.Radio([DRAWN, MINE], value=DRAWN, label="On")
            number = gr.Number(0, label="Draw", precision=0, minimum=0, maximum=10**6, min_width=80)
        button = gr.Button("Show it", variant="primary", elem_id="occlude")
        told = gr.Markdown()
        beside = _gallery("With it, and its mask", 2, "occlusion_gallery")
        self._on(button, self._occlude, [shared.photo, name, face, number], [told, beside])

    # -------------------------------------------------------------------------------------------- what events do

    def _on_upload(self, shared: Shared, canvas: gr.ImageEditor) -> None:
        for event in (shared.photo.upload, shared.photo.clear):
            checked = event(self._told(self._preview), shared.photo, canvas, **_QUIET)
            checked.failure(lambda: (None, None), None, [shared.photo, canvas], **_QUIET)

    def _on(self, button: gr.Button, answer: Callable[..., Any], asked: list[Any], shown: list[Any]) -> None:
        button.click(self._told(answer), asked, shown, api_visibility="private", show_progress="full")

    def _told(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        """An answer for a visit, whose errors are one line for the visitor; those of ours are in the server's log."""

        def told(request: gr.Request, *asked: Any) -> Any:
            visit = self.visits.of(str(request.session_hash))
            try:
                return answer(visit, *asked)
            except RestoreError as error:
                raise gr.Error(plain(error), print_exception=False, title="That did not work") from None
            except Exception:
                if not visit.folder.is_dir():
                    raise gr.Error("this visit has ended", print_exception=False) from None
                LOG.exception("an answer failed")
                raise gr.Error("something broke on our side; its details are in the server's log") from None

        return told

    def _leave(self, request: gr.Request) -> None:
        self.visits.end(str(request.session_hash))

    def _times(self, name: str) -> int:
        model = self.answers.models.get(name)
        return model.scale if model and model.scale in (1, 2, 4) else 4

    def _preview(self, visit: Visit, photo: Path | None) -> str | None:
        return None if photo is None else str(self.answers.preview(visit, photo))

    def _sharpen(
        self, visit: Visit, photo: Path | None, model: str, times: float, keep: bool, truth: Path | None
    ) -> tuple[Any, ...]:
        made = self.answers.sharpen(visit, photo, model, times, keep, truth)
        beside = [(made.bicubic, "Bicubic"), (made.lanczos, "Lanczos"), (made.result, "Restored")]
        return _results(made.bicubic, made.result, made.notes, beside, made.scores, ["Bicubic", "Lanczos", "Restored"])

    def _rebuild(
        self,
        visit: Visit,
        photo: Path | None,
        model: str,
        way: str,
        layers: list[Path],
        mask: Path | None,
        keep: bool,
        truth: Path | None,
    ) -> tuple[Any, ...]:
        limits = self.answers.limits
        ways = {PAINT: partial(painted_mask, layers, limits), UPLOAD: partial(open_mask, mask, limits)}
        made = self.answers.unmask(visit, photo, model, ways.get(way), keep, truth)
        beside = [(made.before, "Photo"), (made.result, "Rebuilt"), (made.invented, "Invented")]
        return _results(made.before, made.result, made.notes, beside, made.scores, ["Photo", "Rebuilt"])

    def _occlude(self, visit: Visit, photo: Path | None, name: str, face: str, number: float) -> tuple[Any, ...]:
        made = self.answers.occlude(visit, photo, face == MINE, name, int(number or 0))
        return made.told, [(str(made.picture), name), (str(made.mask), "Its mask")]


_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


def _places(name: str, tab: str, slider: str, gallery: str) -> list[Any]:
    """Where an answer is shown, one below the other and hidden until there is one, in the order of `_results`."""
    with gr.Column(visible=False, elem_id=name) as whole:
        return [whole, *_shown_below(tab, slider, gallery)]


def _shown_below(tab: str, slider: str, gallery: str) -> Iterator[Any]:
    yield gr.ImageSlider(
        label=slider, type="filepath", format="png", interactive=False, max_height=640, elem_id=f"{tab}_slider"
    )
    yield gr.DownloadButton("Download the result (PNG)", elem_id=f"{tab}_download")
    yield gr.Markdown()
    yield _gallery(gallery, 3, f"{tab}_gallery")
    yield gr.Markdown(elem_id=f"{tab}_scores")


def _gallery(label: str, columns: int, name: str) -> gr.Gallery:
    return gr.Gallery(
        label=label, columns=columns, height="auto", object_fit="contain", interactive=False, format="png", elem_id=name
    )


def _shown_for(way: str) -> tuple[Any, Any]:
    return gr.update(visible=way == PAINT), gr.update(visible=way == UPLOAD)


def _results(
    before: Path, after: Path, notes: list[str], beside: list[tuple[Path, str]], scores: Scores, columns: list[str]
) -> tuple[Any, ...]:
    pictures = [(str(path), name) for path, name in beside]
    told = "\n".join(f"- {note}" for note in notes)
    return gr.update(visible=True), (str(before), str(after)), str(after), told, pictures, _table(scores, columns)


def _table(scores: Scores, columns: list[str]) -> str:
    """As Markdown; empty where nothing was measured."""
    if not scores:
        return ""
    rows = [["Measure", *columns], ["---", *["---:"] * len(columns)], *scores]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
