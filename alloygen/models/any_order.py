r"""The causal any-order model: conditionals and marginals of lattice configurations for every site order.

For a site order sigma and a thermodynamic condition c,

    q(s | sigma, c) = prod_k q(s_sigma(k) | s_sigma(<k), c),
    q(s_i = a | known, c) ~ exp[-beta dE_known(i <- a) + beta mu_a + r_a(known, c)],

where dE_known is the exact energy of the clusters that i completes (energy-informed logits) and the network gives
the remainder r. A second output is the marginal head: the logarithm of the *partial partition function*

    a(s_S; c) = log sum_{undecided} exp[-beta (E - mu.N)]
              ~ -beta (E_known - mu.N_known) + sum_{undecided i} log sum_a exp[beta (mu_a - e_i(a))]
                + n_undecided g(known, c),

where e_i(a) is the energy of a alone at i and g is the network's, with a(all decided) = -beta (E - mu.N) exact, a(nothing decided) = ln Xi, and log p(s_S) = a(s_S) - a(empty).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alloygen.errors import AlloygenError
from alloygen.hamiltonian import ClusterHamiltonian
from alloygen.hamiltonian.conditions import Conditions, ConditionWindow
from alloygen.models.transformer import CausalTransformer, KeyValueCache
from alloygen.typing import Float64, Int64


@dataclass(frozen=True)
class ModelConfig:
    """Size of the network.

    Attributes
    ----------
    width, depth, heads
        Features per token, blocks, and attention heads (width is a multiple of heads).
    """

    width: int = 64
    depth: int = 3
    heads: int = 4

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.heads) < 1 or self.width % self.heads:
            raise AlloygenError(
                f"width {self.width}, depth {self.depth}, heads {self.heads}: expected positive integers and a width "
                "that is a multiple of heads, for example width=64, depth=3, heads=4"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Chain:
    """One configuration after another along a site order.

    Attributes
    ----------
    step_log_q
        log q of every decision, shape (n, n_active), float64.
    log_marginals
        a(prefix k) of the marginal head, k decided sites, shape (n, n_active + 1), float64; the last is exact.
    """

    step_log_q: Tensor
    log_marginals: Tensor

    @property
    def log_q(self) -> Tensor:
        """log q(s | sigma), shape (n,)."""
        return self.step_log_q.sum(dim=1)


class AnyOrderModel(nn.Module):
    """Causal any-order model of one Hamiltonian over a window of conditions.

    Parameters
    ----------
    hamiltonian
        The energy; its lattice supplies symmetry and allowed species.
    window
        The conditions that the network's inputs are scaled to.
    config
        Size of the network.
    seed
        Seed of the initial weights; torch's global generator is left alone.
    """

    def __init__(
        self,
        hamiltonian: ClusterHamiltonian,
        window: ConditionWindow,
        config: ModelConfig | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.hamiltonian, self.window, self.config = hamiltonian, window, config or ModelConfig()
        lattice = hamiltonian.lattice
        orbits = lattice.pair_orbits
        self.n_species = len(lattice.species)
        self.max_species = int(lattice.n_allowed.max())
        self.n_classes = int(orbits.site_classes.max()) + 1
        codes = torch.as_tensor(lattice.species_codes)
        self._constant("labels", torch.as_tensor(orbits.labels.astype(np.int64)))
        self._constant("site_classes", torch.as_tensor(orbits.site_classes))
        self._constant("species_codes", codes.clamp_min(0))
        self._constant("allowed", codes >= 0)
        nothing_known = torch.zeros(1, hamiltonian.n_features, dtype=torch.float64)
        alone = hamiltonian.site_fields(hamiltonian.derivatives(nothing_known))
        self._constant("single_site_energies", alone[0].nan_to_num(0.0))
        self.no_site = orbits.n_orbits
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = CausalTransformer(
                n_inputs=self.n_species + self.n_classes + 2 * self.max_species + 2,
                n_outputs=self.max_species + 1,
                n_condition=window.n_inputs,
                n_orbits=orbits.n_orbits,
                width=self.config.width,
                depth=self.config.depth,
                heads=self.config.heads,
            )

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    labels: Tensor
    site_classes: Tensor
    species_codes: Tensor
    allowed: Tensor
    single_site_energies: Tensor

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.labels.device

    @property
    def n_active(self) -> int:
        """Number of sites that are decided."""
        return len(self.hamiltonian.lattice.active_sites)

    # ------------------------------------------------------------------ token inputs

    def base_logits(self, fields: Tensor, site: Tensor, conditions: Conditions) -> Tensor:
        """-beta dE_known + beta mu, float64; -inf where a species is not allowed.

        ``fields`` (..., n, K, S) are energies at ``site`` (..., 1, K) under conditions of n samples.
        """
        codes = self.species_codes[site]  # (..., K, S)
        mu = conditions.chemical_potentials.to(self.device)
        beta = conditions.beta.to(self.device)
        work = _lookup(mu, codes)
        logits = beta[..., None, None] * (work - fields)
        return logits.masked_fill(~self.allowed[site], -torch.inf)

    def token_inputs(
        self, site: Tensor, previous: Tensor, base: Tensor, conditions: Conditions, decided: Tensor
    ) -> Tensor:
        """Network inputs (..., n, K, n_inputs), float32.

        ``site`` and ``decided`` (K,) or (G, 1, K) are shared by the samples; ``previous`` (..., n, K) is the species
        decided one step before (-1: none).
        """
        allowed = self.allowed[site]
        centred = base.masked_fill(~allowed, 0.0)
        centred = centred - centred.sum(-1, keepdim=True) / allowed.sum(-1, keepdim=True)
        centred = centred.masked_fill(~allowed, 0.0)
        beta = conditions.beta.to(self.device)[..., None, None]
        shape = base.shape[:-1]
        species = nn.functional.one_hot(previous + 1, self.n_species + 1)[..., 1:]
        classes = nn.functional.one_hot(self.site_classes[site], self.n_classes).expand(*shape, -1)
        fraction = (decided / self.n_active).expand(shape)[..., None]
        return torch.cat(
            [
                species.float(),
                classes.float(),
                torch.asinh(centred).float(),
                torch.asinh(centred / (beta * self.hamiltonian.change_scale)).float(),
                fraction.float(),
                (1 - fraction).square().float(),
            ],
            dim=-1,
        )

    # ------------------------------------------------------------------ full pass

    def forward(self, occupation: Tensor, site_orders: Tensor, conditions: Conditions) -> Chain:
        """Return log q and marginals of configurations in groups that share a site order.

        Parameters
        ----------
        occupation
            Codes, shape (G * n, n_sites), group after group.
        site_orders
            Shape (G, n_active).
        conditions
            One per configuration.
        """
        groups, length = site_orders.shape
        occupation = occupation.to(self.device)
        site_orders = site_orders.to(self.device)
        conditions = conditions.to(self.device)
        n = len(occupation) // groups
        batch = occupation.view(groups, n, -1)
        fields = torch.stack(
            [self.hamiltonian.prefix_fields(o, order) for o, order in zip(batch, site_orders, strict=True)]
        )  # (G, n, L, S)
        codes = batch.gather(2, site_orders[:, None, :].expand(groups, n, length))  # (G, n, L)
        grouped = Conditions(conditions.beta.view(groups, n), conditions.chemical_potentials.view(groups, n, -1))
        site = site_orders[:, None, :]
        base = self.base_logits(fields, site, grouped)
        species = self.species_codes[site].expand(groups, n, length, -1).gather(3, codes[..., None])[..., 0]
        previous = nn.functional.pad(species[:, :, :-1], (1, 0), value=-1)
        decided = torch.arange(length, device=self.device)
        inputs = self.token_inputs(site, previous, base, grouped, decided)
        target, known = self._order_labels(site_orders)
        condition = self.window.network_inputs(self.hamiltonian, conditions).view(groups, n, -1)
        outputs = self.network(inputs, condition, target, known)
        log_q = (base + outputs[..., :-1]).log_softmax(dim=-1).gather(3, codes[..., None])[..., 0]
        chosen = base.gather(3, codes[..., None])[..., 0]
        marginals = self._marginals(outputs[..., -1].double(), chosen, site, grouped)
        return Chain(log_q.reshape(groups * n, length), marginals.reshape(groups * n, length + 1))

    def log_prob(
        self, occupation: Int64[Tensor, "n n_sites"], site_order: Int64[Tensor, " n_active"], conditions: Conditions
    ) -> Float64[Tensor, " n"]:
        """Return log q(s | site_order) of a batch that shares one site order, in one pass."""
        return self(occupation, site_order[None], conditions).log_q

    def _order_labels(self, site_orders: Tensor) -> tuple[Tensor, Tensor]:
        """Orbit labels (G, L, L) between each token's site and the others' own, and previously decided, sites."""
        target = self.labels[site_orders[:, :, None], site_orders[:, None, :]]
        known = nn.functional.pad(target[:, :, :-1], (1, 0), value=self.no_site)
        return target, known

    def _marginals(self, remainder: Tensor, chosen: Tensor, site: Tensor, conditions: Conditions) -> Tensor:
        """a(prefix k) for k = 0 .. L from the head's output (G, n, L) and the base logits of the choices."""
        lattice = self.hamiltonian.lattice
        beta, mu = conditions.beta, conditions.chemical_potentials
        free = self._free_site(site, conditions)  # (G, n, L)
        length = remainder.shape[-1]
        undecided = torch.arange(length, 0, -1, device=self.device)
        spectators = torch.as_tensor(np.flatnonzero(lattice.n_allowed == 1), device=self.device)
        fixed = mu[..., self.species_codes[spectators, 0]].sum(-1) - self.hamiltonian.polynomial.constant
        known = nn.functional.pad(chosen.cumsum(-1), (1, 0)) + (beta * fixed)[..., None]
        rest = free.flip(-1).cumsum(-1).flip(-1) + undecided * remainder
        return known + nn.functional.pad(rest, (0, 1))

    def _free_site(self, site: Tensor, conditions: Conditions) -> Tensor:
        """log sum_a exp[beta (mu_a - e_a)] of each site of the order, shape (..., n, L)."""
        work = _lookup(conditions.chemical_potentials, self.species_codes[site]) - self.single_site_energies[site]
        logits = (conditions.beta[..., None, None] * work).masked_fill(~self.allowed[site], -torch.inf)
        return logits.logsumexp(dim=-1)


def _lookup(mu: Tensor, codes: Tensor) -> Tensor:
    """Chemical potentials (..., n, n_species) of species codes (..., 1 or none, K, S), shape (..., n, K, S)."""
    if mu.ndim == 2:
        return mu[:, codes]
    shape = (*mu.shape[:2], *codes.shape[-2:])
    return mu.gather(2, codes.reshape(codes.shape[0], 1, -1).expand(*mu.shape[:2], -1)).view(shape)


class Decoder:
    """Decides one site after another for a batch that shares a site order, with cached keys and values.

    Parameters
    ----------
    model
        The model.
    site_order
        Shape (n_active,).
    conditions
        One per configuration of the batch; a batch under a single condition may pass that one alone.
    n
        Number of configurations.
    """

    def __init__(self, model: AnyOrderModel, site_order: Tensor, conditions: Conditions, n: int) -> None:
        self.model, self.order, self.n = model, site_order.to(model.device), n
        self.conditions = conditions.to(model.device)
        inputs = model.window.network_inputs(model.hamiltonian, self.conditions)
        self.cache: KeyValueCache
        self.cache, self.condition, self.modulations = model.network.start(n, len(site_order), inputs)
        self.target, self.known = (labels[0] for labels in model._order_labels(self.order[None]))
        self.previous = torch.full((n,), -1, dtype=torch.int64, device=model.device)
        hamiltonian = model.hamiltonian
        # Spectators have no features; decided sites are filled in as they come.
        self.features = torch.zeros(n, hamiltonian.n_features, dtype=torch.float64, device=model.device)
        self.occupation = torch.zeros(n, hamiltonian.lattice.n_sites, dtype=torch.int64, device=model.device)

    def logits(self) -> Tensor:
        """Normalised log-probabilities of the next site's species, shape (n, max_species), float64."""
        model, k = self.model, self.cache.length
        site = self.order[k]
        field = model.hamiltonian.site_field(self.features, int(site))
        fields = torch.zeros(self.n, 1, model.max_species, dtype=torch.float64, device=model.device)
        fields[:, 0, : field.shape[1]] = field
        base = model.base_logits(fields, site[None], self.conditions)
        decided = torch.full((1,), k, device=model.device)
        inputs = model.token_inputs(site[None], self.previous[:, None], base, self.conditions, decided)
        outputs = self.advance(inputs[:, 0])
        return (base[:, 0] + outputs[:, :-1]).log_softmax(dim=-1)

    def advance(self, inputs: Tensor) -> Tensor:
        """Network outputs (n, n_outputs) of the next token from its inputs (n, n_inputs)."""
        seen = slice(0, self.cache.length + 1)
        target, known = self.target[self.cache.length, seen], self.known[self.cache.length, seen]
        return self.model.network.step(inputs, self.condition, self.modulations, target, known, self.cache)

    def decide(self, code: Tensor) -> None:
        """Set the species (n,) of the site that ``logits`` was about."""
        model = self.model
        site = int(self.order[self.cache.length - 1])
        self.occupation[:, site] = code
        self.previous = model.species_codes[site][code]
        low, high = model.hamiltonian.feature_start[site : site + 2]
        table = torch.as_tensor(model.hamiltonian.point_table[site], device=model.device)
        self.features[:, low:high] = table[code, : high - low]
