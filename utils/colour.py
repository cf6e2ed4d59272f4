"""Colour constants. Channel order is BGR unless stated."""

BT601_BGR = (0.114, 0.587, 0.299)
"""Luma Y = 0.114 B + 0.587 G + 0.299 R (ITU-R BT.601)."""
CR_SCALE, CB_SCALE = 0.713, 0.564
"""Cr = 0.713 (R - Y) and Cb = 0.564 (B - Y) (ITU-R BT.601, full range)."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Normalization of torchvision's pretrained networks: red, green, blue in [0, 1]."""
