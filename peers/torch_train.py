"""PyTorch's twins of mini-Xception and the FER VGG: training images a second, as one line of JSON.

    python3 -m venv .venv-torch && .venv-torch/bin/pip install torch numpy
    .venv-torch/bin/python peers/torch_train.py --model=mini_xception --batch=128

Tuned as its users would: the set on the device as uint8, augmentation there (flip, rotation, shift, zoom), channels
last, and on CUDA bfloat16 and fused Adam. `--mode` is "eager", a mode of torch.compile for the loss, or "graph": the
compiled loss, its gradients and Adam's update as one CUDA graph, which is closest to one dispatch of ours. Needs
nothing of this project; `python -m tools.benchmark compare` runs it.
"""

import argparse
import json
import math
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

EXAMPLES = 28_709  # of FER2013's training split
MODES = ("eager", "default", "max-autotune", "max-autotune-no-cudagraphs", "graph")


def separable(before, after):
    return nn.Sequential(
        nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False), nn.Conv2d(before, after, 1, bias=False)
    )


class Block(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.residual = nn.Sequential(nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after))
        self.main = nn.Sequential(
            separable(before, after),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            separable(after, after),
            nn.BatchNorm2d(after),
            nn.MaxPool2d(3, 2, 1),
        )

    def forward(self, x):
        return self.main(x) + self.residual(x)


def mini_xception():
    layers = []
    for before in (1, 8):
        layers += [nn.Conv2d(before, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    layers += [Block(*widths) for widths in ((8, 16), (16, 32), (32, 64), (64, 128))]
    return nn.Sequential(*layers, nn.Conv2d(128, 7, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def vgg():
    layers, before = [], 1
    for width in (64, 128, 256, 512):
        for _ in range(2):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(512 * 4, 4096),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(4096, 7),
    )


# Name: (network, side of its images, trained parameters), the last to be sure that it is the twin.
TWINS = {"mini_xception": (mini_xception, 48, 56_951), "vgg": (vgg, 40, 29_890_759)}


def augment(x):
    n, device = x.shape[0], x.device

    def symmetric(limit, *shape):
        return (torch.rand(n, *shape, device=device) * 2 - 1) * limit

    angle, zoom, shift = symmetric(math.radians(10)), 1 + symmetric(0.1), symmetric(0.2, 2)
    flip = torch.where(torch.rand(n, device=device) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack(
        [torch.stack([cos * flip, -sin, shift[:, 0]], 1), torch.stack([sin * flip, cos, shift[:, 1]], 1)], 1
    )
    grid = functional.affine_grid(theta, x.shape, align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def captured(step):
    """`step` as a CUDA graph, after the runs on another stream that capturing asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=TWINS, default="mini_xception")
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=5.0, help="least duration of one measurement")
    parser.add_argument("--runs", type=int, default=2)
    flags = parser.parse_args()

    cuda = torch.cuda.is_available()
    if flags.mode == "graph" and not cuda:
        parser.error("--mode=graph needs a CUDA device")
    device = "cuda" if cuda else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    build, side, parameters = TWINS[flags.model]
    model = build().to(device, memory_format=torch.channels_last)
    assert sum(p.numel() for p in model.parameters()) == parameters, sum(p.numel() for p in model.parameters())
    optimizer = torch.optim.Adam(model.parameters(), fused=cuda, capturable=flags.mode == "graph")
    faces = torch.randint(0, 256, (EXAMPLES, 1, side, side), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 7, (EXAMPLES,), device=device)

    def loss_of(index):
        x = augment(faces[index].float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=cuda):
            logits = model(x)
        return functional.cross_entropy(logits.float(), labels[index])

    if flags.mode != "eager":
        loss_of = torch.compile(loss_of, mode="max-autotune-no-cudagraphs" if flags.mode == "graph" else flags.mode)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_of(torch.randint(0, EXAMPLES, (flags.batch,), device=device)).backward()
        optimizer.step()

    if flags.mode == "graph":
        step = captured(step)

    def images_per_second():
        start, steps = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < flags.seconds or not steps:
            for _ in range(20):  # steps between two looks at the clock, which waits for the device
                step()
            if cuda:
                torch.cuda.synchronize()
            steps += 20
        return round(steps * flags.batch / spent)

    images_per_second()
    runs = [images_per_second() for _ in range(flags.runs)]
    print(
        json.dumps(
            {
                "peer": f"PyTorch {torch.__version__}" + f", {flags.mode}" * (flags.mode != "eager"),
                "device": torch.cuda.get_device_name() if cuda else device,
                "mode": flags.mode,
                "model": flags.model,
                "batch": flags.batch,
                "images_per_s": statistics.median(runs),
                "runs": runs,
            }
        )
    )


if __name__ == "__main__":
    main()
