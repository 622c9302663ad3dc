"""Writes the reference data in this folder with Pillow, torchvision and timm.

    python generate.py PICTURE

PICTURE is any photo; `base.png` was cut from Kodak's kodim07 (released for unrestricted use).
Results of operations are stored as the FNV-1a hash of their bytes, one case per line of cases.jsonl:
equal hashes mean equal pixels. What a lossy decoder gives is stored as pixels (decode/*.ref.png).
"""

import io
import json
import math
import random
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import timm
import torch
import torchvision
import torchvision.transforms as T
import torchvision.transforms.functional as F
from PIL import Image, ImageFilter
from timm.data import auto_augment as aa
from timm.data import create_transform
from timm.data.random_erasing import RandomErasing

HERE = Path(__file__).parent
FILTERS = {
    "nearest": Image.NEAREST,
    "box": Image.BOX,
    "bilinear": Image.BILINEAR,
    "hamming": Image.HAMMING,
    "bicubic": Image.BICUBIC,
    "lanczos": Image.LANCZOS,
}
cases = []


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def add(image, op, result, **args):
    array = np.ascontiguousarray(np.asarray(result))
    size = list(result.size) if isinstance(result, Image.Image) else list(array.shape)
    cases.append(dict(image=image, op=op, **args, size=size, fnv=fnv(array.tobytes())))


def images(photo):
    rng = np.random.RandomState(7)
    base = photo.convert("RGB").resize((122, 94), Image.LANCZOS).crop((10, 20, 71, 67))
    noise = Image.fromarray(rng.randint(0, 256, (37, 40, 3), dtype=np.uint8))
    levels = Image.fromarray(rng.choice([3, 90, 91, 200], (23, 31, 3)).astype(np.uint8))
    flat = Image.new("RGB", (9, 5), (10, 200, 77))
    thin = Image.fromarray(rng.randint(0, 256, (90, 2, 3), dtype=np.uint8))
    return dict(base=base, noise=noise, levels=levels, flat=flat, thin=thin)


def resizing(pictures):
    rnd = random.Random(1)
    for name, im in pictures.items():
        sizes = [(1, 1), (im.width, 11), (13, im.height), (im.width * 2, im.height * 3), (64, 64), im.size]
        sizes += [(rnd.randint(1, 130), rnd.randint(1, 130)) for _ in range(8)]
        for label, f in FILTERS.items():
            for w, h in sizes:
                add(name, "resize", im.resize((w, h), f), filter=label, to=[w, h])
            for _ in range(4):
                x, y = rnd.randrange(im.width), rnd.randrange(im.height)
                box = [x, y, rnd.randint(1, im.width - x), rnd.randint(1, im.height - y)]
                w, h = rnd.randint(1, 80), rnd.randint(1, 80)
                cut = im.crop((x, y, x + box[2], y + box[3]))
                add(name, "crop_resize", cut.resize((w, h), f), filter=label, to=[w, h], crop=box)


def geometry(pictures):
    for name, im in pictures.items():
        for label in ("nearest", "bilinear", "bicubic"):
            kw = dict(resample=FILTERS[label], fillcolor=(128, 100, 7))
            for v in (-0.3, -0.137, 0.0, 0.21, 0.3):
                add(name, "shear_x", aa.shear_x(im, v, **kw), filter=label, v=v)
                add(name, "shear_y", aa.shear_y(im, v, **kw), filter=label, v=v)
            for v in (-0.45, -0.1, 0.0, 0.123, 0.45):
                add(name, "translate_x", aa.translate_x_rel(im, v, **kw), filter=label, v=v)
                add(name, "translate_y", aa.translate_y_rel(im, v, **kw), filter=label, v=v)
            for v in (-30.0, -7.3, 0.0, 1.0, 12.5, 27.0, 90.0, 180.0, 200.0, 270.0):
                add(name, "rotate", aa.rotate(im, v, **kw), filter=label, v=v)


def tones(pictures):
    for name, im in pictures.items():
        add(name, "autocontrast", aa.auto_contrast(im))
        add(name, "equalize", aa.equalize(im))
        add(name, "invert", aa.invert(im))
        add(name, "grey", im.convert("L").convert("RGB"))
        for v in range(1, 9):  # Pillow 13 refuses 0 bits, which timm can draw; older ones give black
            add(name, "posterize", aa.posterize(im, v), v=v)
        for v in (0, 1, 77, 128, 255, 256):
            add(name, "solarize", aa.solarize(im, v), v=v)
        for v in (0, 40, 99, 110, 128):
            add(name, "solarize_add", aa.solarize_add(im, v), v=v)
        for v in (0.0, 0.1, 0.37, 0.6, 1.0, 1.0001, 1.4, 1.9, 3.7):
            add(name, "color", aa.color(im, v), v=v)
            add(name, "contrast", aa.contrast(im, v), v=v)
            add(name, "brightness", aa.brightness(im, v), v=v)
            add(name, "sharpness", aa.sharpness(im, v), v=v)
        for v in (-0.5, -0.31, -0.1, 0.0, 0.002, 0.05, 0.2, 0.5):
            add(name, "hue", F.adjust_hue(im, v), v=v)
        for v in (0.1, 0.5, 0.74, 1.0, 1.37, 2.0, 4.0):
            add(name, "blur", im.filter(ImageFilter.GaussianBlur(v)), v=v)
        add(name, "hflip", F.hflip(im))
        add(name, "vflip", F.vflip(im))


def sizes(pictures):
    for name, im in pictures.items():
        for w, h in ((20, 20), (61, 10), (33, 64), (100, 101), (1, 1)):
            add(name, "center_crop", T.CenterCrop((h, w))(im), to=[w, h])
        for s in (16, 33, 47, 80):
            for label in ("bilinear", "bicubic"):
                mode = T.InterpolationMode(label)
                add(name, "resize_shorter", T.Resize(s, mode)(im), v=s, filter=label)


def evaluation(pictures):
    configs = [
        ([3, 32, 32], "bicubic", 0.875, "center"),
        ([3, 32, 32], "bilinear", 1.0, "center"),
        ([3, 24, 40], "bicubic", 0.9, "center"),
        ([3, 32, 32], "bicubic", 0.95, "squash"),
        ([3, 28, 44], "bilinear", 0.875, "squash"),
        ([3, 32, 32], "bicubic", 0.875, "border"),
        ([3, 40, 24], "bilinear", 1.0, "border"),
    ]
    for name, im in pictures.items():
        for size, interpolation, pct, mode in configs:
            transform = create_transform(
                size, is_training=False, interpolation=interpolation, crop_pct=pct, crop_mode=mode
            )
            add(name, "eval", transform(im).numpy(), input_size=size, filter=interpolation, crop_pct=pct, crop_mode=mode)
    for name in ("base", "noise"):
        im = pictures[name]
        pipeline = T.Compose([
            T.Resize(36), T.CenterCrop(32), T.ToTensor(),
            T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ])
        add(name, "eval", pipeline(im).numpy(), input_size=[3, 32, 32], filter="bilinear", crop_pct=32 / 36, crop_mode="center")
        grey = T.Compose([T.Resize(36), T.CenterCrop(32), T.ToTensor(), T.Normalize((0.5,), (0.25,))])
        add(name, "eval", grey(im.convert("L")).numpy(), input_size=[1, 32, 32], filter="bilinear", crop_pct=32 / 36, crop_mode="center")


def colours():
    """Every 8-bit colour through HSV, every HSV triple back."""
    v = np.arange(1 << 24, dtype=np.uint32)
    array = np.stack([v >> 16, v >> 8 & 255, v & 255], -1).astype(np.uint8).reshape(4096, 4096, 3)
    step = lambda im: f"{zlib.crc32(np.asarray(im).tobytes()):08x}"
    rgb = Image.fromarray(array)
    hsv = Image.frombytes("HSV", (4096, 4096), array.tobytes())
    return dict(rgb_to_hsv=step(rgb.convert("HSV")), hsv_to_rgb=step(hsv.convert("RGB")))


def randaugment():
    out = {}
    random.seed(0)
    hparams = dict(translate_const=100, img_mean=(128,) * 3)
    for name in sorted(set(aa._RAND_TRANSFORMS + aa._RAND_INCREASING_TRANSFORMS + aa._RAND_3A)):
        fn = aa.LEVEL_TO_ARG[name]
        # Signs are random; the two possible values are kept.
        out[name] = [sorted({fn(m, hparams)[0] for _ in range(64)}) if fn else [] for m in (0, 1, 3.5, 7, 9, 10)]
    return out


def random_crops():
    out = []
    torch.manual_seed(0)
    for w, h, scale, ratio in [
        (100, 100, (0.08, 1.0), (3 / 4, 4 / 3)),
        (768, 512, (0.08, 1.0), (3 / 4, 4 / 3)),
        (300, 60, (0.5, 1.0), (3 / 4, 4 / 3)),
        (40, 400, (0.9, 1.0), (0.9, 1.1)),
    ]:
        im = torch.zeros(1, h, w)
        p = np.array([T.RandomResizedCrop.get_params(im, scale, ratio) for _ in range(20000)], dtype=float)
        y, x, ch, cw = p.T
        stats = [cw * ch / (w * h), np.log(cw / ch), x / w, y / h]
        out.append(dict(width=w, height=h, scale=scale, ratio=ratio,
                        mean=[float(s.mean()) for s in stats], std=[float(s.std()) for s in stats]))
    return out


def erasing():
    out = []
    random.seed(0)
    for count in (1, 3):
        e = RandomErasing(probability=0.5, mode="const", max_count=count, device="cpu")
        parts = []
        for _ in range(8000):
            x = torch.ones(1, 32, 48)
            e(x)
            parts.append(float((x == 0).float().mean()))
        p = np.array(parts)
        out.append(dict(count=count, untouched=float((p == 0).mean()), mean=float(p.mean()), std=float(p.std())))
    return out


def png(path, width, height, depth, colour, rows, chunks=()):
    """A PNG that Pillow cannot write itself (16-bit colour)."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data += b"".join(chunk(k, b) for k, b in chunks)
    data += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows), 9)) + chunk(b"IEND", b"")
    path.write_bytes(data)


def decoding(base):
    out = HERE / "decode"
    out.mkdir(exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    small = base.crop((5, 5, 42, 33))
    smooth = base.resize((40, 29), Image.LANCZOS)
    rng = np.random.RandomState(3)
    small.save(out / "rgb.png")
    small.convert("L").save(out / "grey.png")
    small.convert("1").save(out / "onebit.png")
    small.convert("LA").save(out / "grey_alpha.png")
    rgba = small.copy()
    rgba.putalpha(Image.fromarray(rng.randint(0, 256, (small.height, small.width), dtype=np.uint8)))
    rgba.save(out / "rgba.png")
    rgba.save(out / "rgba_lossless.webp", lossless=True, exact=True)
    small.quantize(50).save(out / "palette.png")
    small.quantize(50).save(out / "palette.gif")
    small.quantize(16).save(out / "palette_transparent.png", transparency=3)
    small.save(out / "rgb.bmp")
    small.save(out / "rgb.tiff", compression="tiff_deflate")
    small.save(out / "rgb.ppm")
    small.save(out / "lossless.webp", lossless=True)
    smooth.save(out / "lossy.webp", quality=80)
    wide = (rng.randint(0, 65536, (12, 15, 3))).astype(">u2")
    png(out / "rgb16.png", 15, 12, 16, 2, [r.tobytes() for r in wide])
    smooth.save(out / "baseline.jpg", quality=90)
    smooth.save(out / "yuv444.jpg", quality=90, subsampling=0)
    smooth.save(out / "progressive.jpg", quality=85, progressive=True)
    smooth.convert("L").save(out / "grey.jpg", quality=90)
    cmyk = smooth.convert("CMYK")
    k = np.asarray(cmyk).copy()
    k[..., 3] = np.linspace(0, 140, k.shape[1]).astype(np.uint8)
    cmyk = Image.frombytes("CMYK", cmyk.size, k.tobytes())
    cmyk.save(out / "cmyk.jpg", quality=95)
    # The same file, declared as YCCK: the Adobe marker's transform byte is 2 instead of 0.
    data = bytearray((out / "cmyk.jpg").read_bytes())
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    data[at] = 2
    (out / "ycck.jpg").write_bytes(data)
    for path in sorted(out.iterdir()):
        Image.open(path).convert("RGB").save(path.with_suffix(path.suffix + ".ref.png"))
    # 16-bit grey has no faithful conversion in Pillow; the reference keeps the high byte.
    grey = rng.randint(0, 65536, (12, 15)).astype(">u2")
    png(out / "grey16.png", 15, 12, 16, 0, [r.tobytes() for r in grey])
    Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB").save(out / "grey16.png.ref.png")
    # Pictures stored turned, with the EXIF orientation that turns them back to orientation1.jpg.
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    marked = Image.new("RGB", (32, 16), (20, 30, 200))
    marked.paste((220, 30, 20), (0, 0, 16, 8))
    marked.paste((30, 200, 40), (16, 0, 32, 8))
    for value, method in turned.items():
        exif = Image.Exif()
        exif[0x0112] = value
        stored = marked if method is None else marked.transpose(Image.Transpose(method))
        stored.save(out / f"orientation{value}.jpg", exif=exif, quality=95, subsampling=0)


def main():
    photo = Image.open(sys.argv[1])
    pictures = images(photo)
    for name, im in pictures.items():
        im.save(HERE / f"{name}.png", optimize=True)
    resizing(pictures)
    geometry(pictures)
    tones(pictures)
    sizes(pictures)
    evaluation(pictures)
    decoding(pictures["base"])
    (HERE / "cases.jsonl").write_text("".join(json.dumps(c, separators=(",", ":")) + "\n" for c in cases))
    reference = dict(
        versions=dict(pillow=PIL.__version__, torchvision=torchvision.__version__, timm=timm.__version__),
        colours=colours(),
        rand_augment=randaugment(),
        random_resized_crop=random_crops(),
        random_erasing=erasing(),
    )
    (HERE / "reference.json").write_text(json.dumps(reference, indent=1) + "\n")


main()
