"""From an observation dict to the features that actors and critics read."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ibrl_fast.errors import ArgumentError


class ObservationScaler(nn.Module):
    """The fixed transform `clip((x - mean) * inv_scale, -clip, clip)`; inv_scale 0 masks a dimension.

    Args:
        mean: `[dim]`, in the observation's own units (m, rad).
        inv_scale: `[dim]`, one over the unit that becomes 1.
        clip: bound of the result, positive; infinity switches clipping off.
    """

    mean: Tensor
    inv_scale: Tensor

    def __init__(self, mean: Tensor, inv_scale: Tensor, clip: float = 10.0) -> None:
        super().__init__()
        if mean.dim() != 1 or mean.shape != inv_scale.shape:
            raise ArgumentError(
                f"inv_scale: expected {list(mean.shape)} like mean, got {list(inv_scale.shape)}"
            )
        if not (torch.isfinite(mean).all() and torch.isfinite(inv_scale).all()):
            raise ArgumentError("mean, inv_scale: expected finite numbers, got inf or nan")
        if not clip > 0:
            raise ArgumentError(f"clip: expected > 0, got {clip}")
        self.clip = float(clip)
        self.register_buffer("mean", mean.detach().to(torch.get_default_dtype()).clone())
        self.register_buffer("inv_scale", inv_scale.detach().to(torch.get_default_dtype()).clone())

    @staticmethod
    def identity(dim: int) -> "ObservationScaler":
        """Return the scaler that changes nothing, for a vector of `dim` features."""
        return ObservationScaler(torch.zeros(dim), torch.ones(dim), clip=float("inf"))

    def forward(self, x: Tensor) -> Tensor:
        """Scale `x` `[batch, dim]`."""
        return ((x - self.mean) * self.inv_scale).clamp(-self.clip, self.clip)


class StateEncoder(nn.Module):
    """The vector observations side by side in a fixed order, each through its scaler; no parameters.

    Args:
        dims: features of each key after stacking, in the order of concatenation; none gives `[batch, 0]`.
        scalers: a scaler for some of the keys; the others pass unchanged.
    """

    def __init__(
        self, dims: Mapping[str, int], scalers: Mapping[str, ObservationScaler] | None = None
    ) -> None:
        super().__init__()
        scalers = dict(scalers or {})
        unknown = sorted(set(scalers) - set(dims))
        if unknown:
            raise ArgumentError(f"scalers: expected keys among {sorted(dims)}, got {unknown}")
        for key, scaler in scalers.items():
            if scaler.mean.shape[0] != dims[key]:
                raise ArgumentError(f"scalers[{key}]: expected [{dims[key]}], got {list(scaler.mean.shape)}")
        self.feature_dim = sum(dims.values())
        self.scalers = nn.ModuleDict({key: scalers.get(key, nn.Identity()) for key in dims})

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        """Map obs, each `[batch, features]`, to `[batch, feature_dim]`."""
        parts: list[Tensor] = []
        for key, scaler in self.scalers.items():
            parts.append(scaler(obs[key]))
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts, dim=1)


class NoVectors(nn.Module):
    """No proprioception, for an agent that only sees images."""

    def forward(self, image: Tensor, obs: dict[str, Tensor]) -> Tensor:
        """Return `[batch, 0]` in the image's floating dtype."""
        return image.new_zeros((image.shape[0], 0))


class Vectors(nn.Module):
    """The proprioception beside the images.

    Args:
        encoder: concatenates and scales the vector observations.
    """

    def __init__(self, encoder: StateEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor, obs: dict[str, Tensor]) -> Tensor:
        """Return the vector observations as `[batch, proprio_dim]`."""
        return self.encoder(obs)


class PixelEncoder(nn.Module):
    """Cameras (concatenated along channels) through an image trunk, beside the scaled proprioception.

    Args:
        trunk: maps images to tokens `[batch, num_tokens, token_dim]` and has those two attributes.
        cameras: image keys; all of one height and width.
        proprio: the vector observations, or None.
    """

    def __init__(self, trunk: nn.Module, cameras: Sequence[str], proprio: StateEncoder | None = None) -> None:
        super().__init__()
        if not cameras:
            raise ArgumentError("cameras: expected at least one image key, got none")
        self.trunk = trunk
        self.cameras = list(cameras)
        self.vectors = NoVectors() if proprio is None else Vectors(proprio)
        self.num_tokens = int(trunk.num_tokens)  # type: ignore[arg-type]
        self.token_dim = int(trunk.token_dim)  # type: ignore[arg-type]
        self.proprio_dim = 0 if proprio is None else proprio.feature_dim

    def forward(self, obs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Map obs to tokens `[batch, num_tokens, token_dim]` and proprioception `[batch, proprio_dim]`.

        Images are `[batch, channels, height, width]`: uint8, or already scaled to [-0.5, 0.5].
        """
        images: list[Tensor] = []
        for camera in self.cameras:
            image = obs[camera]
            if not image.is_floating_point():
                image = image.float() / 255.0 - 0.5
            images.append(image)
        image = images[0] if len(images) == 1 else torch.cat(images, dim=1)
        return self.trunk(image), self.vectors(image, obs)
