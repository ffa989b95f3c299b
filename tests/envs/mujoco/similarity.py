"""Structural similarity of pictures."""

import numpy as np

_WINDOW = 11
_SIGMA = 1.5
_LUMINANCE = (0.299, 0.587, 0.114)


def ssim(first, second):
    """Mean structural similarity of the luminance of two pictures of 8 bits; 1 when they are equal.

    Source: Wang et al. 2004, Image Quality Assessment: From Error Visibility to Structural Similarity, equation 13,
    with a Gaussian window of 11 x 11 px and a standard deviation of 1.5 px.
    """
    x, y = (np.asarray(picture, np.float64) @ _LUMINANCE for picture in (first, second))
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def blurred(values):
    """Gaussian mean around every pixel whose window is inside."""
    weights = np.exp(-((np.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    for axis in (0, 1):
        values = np.apply_along_axis(np.convolve, axis, values, weights, "valid")
    return values
