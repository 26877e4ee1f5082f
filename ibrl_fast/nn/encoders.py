"""Image trunks: `[batch, channels, height, width]` in [-0.5, 0.5] to `[batch, num_tokens, token_dim]`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn.config import DrQConfig, ResNet18Config, ViTConfig
from ibrl_fast.nn.fast_layers import attention, image_layout
from ibrl_fast.nn.layers import Linear


def _conv_size(size: int, kernel: int, stride: int, padding: int = 0) -> int:
    """Output pixels of a convolution along one side."""
    return (size + 2 * padding - kernel) // stride + 1


def _channels_last(image: Tensor) -> Tensor:
    """Return the image `[batch, channels, height, width]` as the convolutions read it."""
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return image.contiguous(memory_format=torch.channels_last)
    return image_layout(image)


class TransformerLayer(nn.Module):
    """Pre-norm attention and feed-forward, each with its residual (paper Fig. 17).

    Args:
        dim: token features.
        num_heads: attention heads; divides dim.
        mlp_dim: width of the feed-forward part.
        activation: `gelu` or `relu`, in the feed-forward part.
    """

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, activation: str) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.gelu = activation == "gelu"
        self.norm_attention = nn.LayerNorm(dim)
        self.qkv = Linear(dim, 3 * dim)
        self.projection = Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.expand = Linear(dim, mlp_dim)
        self.contract = Linear(mlp_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens `[batch, tokens, dim]` to the same shape."""
        batch, tokens, dim = x.shape
        # attention among all patches
        qkv = self.qkv(self.norm_attention(x)).view(batch, tokens, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            attended = F.scaled_dot_product_attention(query, key, value)
        else:
            attended = attention(query, key, value)
        x = x + self.projection(attended.transpose(1, 2).reshape(batch, tokens, dim))
        # feed-forward within each patch
        hidden = self.expand(self.norm_mlp(x))
        hidden = F.gelu(hidden) if self.gelu else F.relu(hidden)
        return x + self.contract(hidden)


class ViTEncoder(nn.Module):
    """Overlapping patches by two convolutions, a learned position, transformer layers (paper Fig. 17).

    Args:
        in_channels: channels of the concatenated, stacked images.
        image_size: height and width in pixels.
        config: sizes.
    """

    def __init__(self, in_channels: int, image_size: int, config: ViTConfig) -> None:
        super().__init__()
        side = _conv_size(_conv_size(image_size, 8, 4), 3, 2) if image_size >= 16 else 0
        if side < 1:
            raise ArgumentError(
                f"image_size: expected at least 16 pixels for the ViT encoder, got {image_size}"
            )
        self.num_tokens = side * side
        self.token_dim = config.token_dim
        self.conv1 = nn.Conv2d(in_channels, config.token_dim, kernel_size=8, stride=4)
        self.conv2 = nn.Conv2d(config.token_dim, config.token_dim, kernel_size=3, stride=2)
        self.position = nn.Parameter(torch.empty(1, self.num_tokens, config.token_dim))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.layers = nn.Sequential(
            *(
                TransformerLayer(config.token_dim, config.num_heads, config.mlp_dim, config.activation)
                for _ in range(config.num_layers)
            )
        )
        self.norm = nn.LayerNorm(config.token_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Map `image` `[batch, channels, height, width]` to tokens `[batch, num_tokens, token_dim]`."""
        patches = self.conv2(F.relu(self.conv1(_channels_last(image))))
        tokens = patches.flatten(2).transpose(1, 2) + self.position
        return self.norm(self.layers(tokens))


class DrQEncoder(nn.Module):
    """Four 3x3 convolutions, the first with stride 2, ReLU after each (Yarats et al. 2022, DrQ-v2).

    Args:
        in_channels: channels of the concatenated, stacked images.
        image_size: height and width in pixels.
        config: sizes.
    """

    def __init__(self, in_channels: int, image_size: int, config: DrQConfig) -> None:
        super().__init__()
        side = _conv_size(image_size, 3, 2) - 6
        if side < 1:
            raise ArgumentError(
                f"image_size: expected at least 15 pixels for the DrQ encoder, got {image_size}"
            )
        self.num_tokens = side * side
        self.token_dim = config.channels
        self.convs = nn.ModuleList(
            nn.Conv2d(
                in_channels if i == 0 else config.channels, config.channels, 3, stride=2 if i == 0 else 1
            )
            for i in range(4)
        )
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.orthogonal_(conv.weight, nn.init.calculate_gain("relu"))
            nn.init.zeros_(conv.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Map `image` `[batch, channels, height, width]` to tokens `[batch, num_tokens, token_dim]`."""
        image = _channels_last(image)
        for conv in self.convs:
            image = F.relu(conv(image))
        return image.flatten(2).transpose(1, 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm around a shortcut (He et al. 2016, basic block).

    Args:
        in_channels: input channels.
        out_channels: output channels, also the number of GroupNorm groups.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(out_channels, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(out_channels, out_channels)
        shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.GroupNorm(out_channels, out_channels),
            )
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` `[batch, in_channels, h, w]` to `[batch, out_channels, h / stride, w / stride]`."""
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


class ResNet18Encoder(nn.Module):
    """ResNet-18 with GroupNorm, as many groups as channels, without pooling and classifier (paper Sec. IX).

    Args:
        in_channels: channels of the concatenated, stacked images.
        image_size: height and width in pixels.
        config: sizes.
    """

    def __init__(self, in_channels: int, image_size: int, config: ResNet18Config) -> None:
        super().__init__()
        side = _conv_size(_conv_size(image_size, 7, 2, 3), 3, 2, 1)
        for _ in range(3):
            side = _conv_size(side, 3, 2, 1)
        # GroupNorm of a single pixel per group would erase it
        if side < 2:
            raise ArgumentError(
                f"image_size: expected at least 33 pixels for the ResNet-18 encoder, got {image_size}"
            )
        widths = [config.base_channels * 2**i for i in range(4)]
        self.num_tokens = side * side
        self.token_dim = widths[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 7, stride=2, padding=3, bias=False),
            nn.GroupNorm(widths[0], widths[0]),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        blocks: list[nn.Module] = []
        for stage, width in enumerate(widths):
            blocks.append(ResidualBlock(widths[max(stage - 1, 0)], width, 1 if stage == 0 else 2))
            blocks.append(ResidualBlock(width, width, 1))
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """Map `image` `[batch, channels, height, width]` to tokens `[batch, num_tokens, token_dim]`."""
        return self.blocks(self.stem(image)).flatten(2).transpose(1, 2)
