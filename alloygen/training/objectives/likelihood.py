"""Maximum likelihood on reference samples."""

from __future__ import annotations

from alloygen.training.objectives.base import Evaluation, Loss


def forward_kl(evaluation: Evaluation) -> Loss:
    r"""Mean -log q per site of reference samples: the forward Kullback-Leibler divergence up to a constant.

    Models that score a configuration in one pass give log q(s | sigma) itself,

        L = -E_p[sum_k log q(s_sigma(k) | s_sigma(<k))] / N.

    The others look at one random decision k of each configuration. All undecided sites are equally likely to be the
    next one under uniform site orders, and one pass gives all their conditionals, so that

        L = -E_p E_sigma E_k [1/(N - k) sum_{i undecided after k decisions} log q(s_i | s_sigma(<k))]

    is the mean over uniform site orders of the former.

    References
    ----------
    Uria, Murray and Larochelle, A deep and tractable density estimator, ICML 2014, Eq. 9 (arXiv:1310.1757).
    Hoogeboom et al., Autoregressive diffusion models, ICLR 2022, Eq. 3 (arXiv:2110.02037).
    """
    model = evaluation.model
    if model.one_pass:
        return Loss.of(-evaluation.chain.log_q.mean() / model.n_active)
    undecided = (~evaluation.known).sum(dim=1)
    return Loss.of(-(evaluation.site_log_q.sum(dim=1) / undecided).mean())
