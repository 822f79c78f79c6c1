"""One client's tracks and histories; the model is shared by all."""

from __future__ import annotations

import time

from fer_jax.errors import UserError
from fer_jax.faces import cropping, registry
from fer_jax.serve.analysis import FrameAnalyzer, FrameResult
from fer_jax.serve.classifier import Classifier
from fer_jax.serve.sources import Frame
from fer_jax.web import protocol


class Session:
    """Analyzes the frames of one client, one after the other, as its settings say.

    Attributes:
      settings: may be replaced at any time, from any thread; they take effect with the next frame.
    """

    def __init__(self, classifier: Classifier, settings: protocol.Settings, detector_model: str = ""):
        """`detector_model` is the path of YuNet's file, "" to look for it."""
        self.settings = settings
        self._classifier = classifier
        self._detector_model = detector_model
        self._detectors: dict[str, registry.Detectors] = {}
        self._analyzer: FrameAnalyzer | None = None
        self._analyzed_as: tuple | None = None  # the settings and shape of the present analyzer
        self._frames = 0

    def answer(self, sent: protocol.ClientFrame, dropped: int) -> str:
        """The message that answers a frame; UserError for one that is no picture."""
        settings = self.settings
        return protocol.scene(sent, self._analyze(sent, settings), settings.explain, dropped)

    def _analyze(self, sent: protocol.ClientFrame, settings: protocol.Settings) -> FrameResult:
        image = protocol.decode(sent.file, sent.still)
        now = time.perf_counter()
        detector = self._detectors.setdefault(
            settings.detector, registry.Detectors(settings.detector, self._detector_model)
        )
        if sent.still:
            analyzer, starts = FrameAnalyzer(self._classifier, detector, tta="auto"), True
            self._analyzed_as = None
        else:
            wanted = settings.detector, settings.smoothing, image.shape
            starts = wanted != self._analyzed_as
            if starts or self._analyzer is None:
                self._analyzer = FrameAnalyzer(self._classifier, detector, settings.smoothing)
                self._analyzed_as = wanted
            analyzer = self._analyzer
        frame = Frame(image, self._frames, now, now, "", starts, still=sent.still)
        self._frames += 1
        return analyzer.read(analyzer.search(frame))


def detectors(classifier: Classifier, detector_model: str = "") -> tuple[str, ...]:
    """Names of the detectors that clients may choose, the first one to begin with.

    A detector that cannot be had is left out, such as Haar's cascade in OpenCV 5. UserError when the first one cannot:
    YuNet's file is not usable, or the bundle has no crop policy for it.
    """
    first = registry.default(detector_model)
    known = [name for name, entry in registry.DETECTORS.items() if not entry.needs_model or name == first]
    names = sorted(known, key=lambda name: (not registry.DETECTORS[name].searches, name != first))
    usable = []
    for name in names:
        try:
            registry.create(name, detector_model)
            cropping.CropPolicy.of(classifier.bundle.crop, name)
        except UserError:
            if name == first:
                raise
        else:
            usable.append(name)
    return tuple(usable)
