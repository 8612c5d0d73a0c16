"""Models: any-order conditionals and marginals of lattice configurations."""

from alloygen.models.any_order import AnyOrderModel, Chain, Decoder, ModelConfig

__all__ = ["AnyOrderModel", "Chain", "Decoder", "ModelConfig"]
