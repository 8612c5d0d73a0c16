"""Models: any-order conditionals and marginals of lattice configurations."""

from alloygen.models.any_order import AnyOrderModel, Chain, Decoder
from alloygen.models.config import ModelConfig
from alloygen.models.families import FAMILIES, build_model, default_config

__all__ = ["FAMILIES", "AnyOrderModel", "Chain", "Decoder", "ModelConfig", "build_model", "default_config"]
