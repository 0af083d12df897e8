"""How likely each candidate is to be the largest component of a Dirichlet draw."""

import numpy as np

# Below x = exp(LEFT) the incomplete gamma function is its first term to double precision.
LEFT = -40.0
NODES_PER_PANEL = 12


def dirichlet_argmax_log_probabilities(beta_EO: np.ndarray) -> np.ndarray:
    """Logarithm of P(argmax theta = o) for theta ~ Dirichlet(beta), row by row.

    A Dirichlet draw is a vector of independent X_o ~ Gamma(beta_o, 1) divided by its sum, which leaves the
    argmax as it is. So with t = log x

        P(argmax = o) = integral of  exp(beta_o t - e^t) / Gamma(beta_o)  *  prod_{j != o} F_j(e^t)  dt,

    F_j the distribution function of X_j. The logarithm tames the pole of the density at 0 for beta < 1; below
    t = -40 the integrand is a single exponential and is integrated in closed form, above by Gauss-Legendre.

    Args:
        beta_EO: concentrations, positive.

    Returns:
        [E, O], float64; absolute error of the probabilities below 1e-9.
    """
    from scipy.special import gammainc, gammaln

    beta_EO = np.asarray(beta_EO, dtype=np.float64)
    largest = beta_EO.max()
    right = np.log(largest + 40.0 + 12.0 * np.sqrt(largest))
    # The density of log X has a width of about 1 / sqrt(beta).
    panels = int(np.ceil((right - LEFT) / min(0.5, 2.0 / np.sqrt(largest))))
    t_N, weight_N = _composite_gauss_legendre(LEFT, right, panels)
    x_N = np.exp(t_N)
    log_density_EON = beta_EO[..., None] * t_N - x_N - gammaln(beta_EO)[..., None]
    with np.errstate(divide="ignore"):
        log_cdf_EON = np.log(gammainc(beta_EO[..., None], x_N))
    columns = np.arange(beta_EO.shape[1])
    others_EON = np.stack([log_cdf_EON[:, columns != o].sum(axis=1) for o in columns], axis=1)
    above_EO = np.exp(log_density_EON + others_EON) @ weight_N
    total_E1 = beta_EO.sum(axis=1, keepdims=True)
    log_below_E1 = total_E1 * LEFT - gammaln(beta_EO + 1).sum(axis=1, keepdims=True)
    below_EO = beta_EO / total_E1 * np.exp(log_below_E1)
    with np.errstate(divide="ignore"):
        return np.log(above_EO + below_EO)


def _composite_gauss_legendre(start: float, end: float, panels: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES_PER_PANEL)
    half = (end - start) / panels / 2
    centres = start + half * (2 * np.arange(panels) + 1)
    return (centres[:, None] + half * nodes).ravel(), np.tile(half * weights, panels)
