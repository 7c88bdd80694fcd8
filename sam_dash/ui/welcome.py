"""The text of the Overview page."""

LEAD = (
    "Sharpness-aware minimisation (SAM) steps along the gradient taken a distance ρ up the steepest slope. In practice "
    "that slope is computed on **micro-batches of m samples**, and m matters: at a fixed ρ, smaller m tends to end in "
    "flatter minima. This dashboard trains SAM and its relatives over m on small problems, measures how flat they end "
    "up, and shows what the runs say, with their errors."
)

SAM = "**SAM** on a batch $B$ with loss $L_B$: find the nearby point where the loss is worst, descend its gradient."
ASCENT_TEX = r"\varepsilon(w) = \rho\,\frac{\nabla L_B(w)}{\lVert\nabla L_B(w)\rVert}"
SAM_TEX = r"h(w) = \nabla L_B(w + \varepsilon(w))"
M_SAM = "**m-SAM**: split the batch into $B/m$ micro-batches, perturb on each by itself, average the gradients."
M_SAM_TEX = r"h_m(w) = \frac{m}{B}\sum_{j=1}^{B/m} \nabla L_{B_j}\bigl(w + \varepsilon_{B_j}(w)\bigr)"

THEORY = (
    "**Why m matters.** For the un-normalised variant (USAM), the step descends the loss plus two penalties, to first "
    "order in ρ; only the second, the gradient noise $\\operatorname{tr}V$, depends on m:"
)
THEORY_TEX = r"f(w) + \frac{\rho}{2}\lVert\nabla f(w)\rVert^2 + \frac{\rho}{2m}\operatorname{tr}V(w)"
THEORY_NOTE = (
    "$f$ is the training loss and $V$ the covariance of per-sample gradients. Smaller m penalises gradient noise more, "
    "and noise is tied to curvature, $\\operatorname{tr}H$ and $\\lambda_{\\max}$. See Luo et al., arXiv:2509.18001; "
    "SAM is Foret et al., arXiv:2010.01412."
)

METHODS = (
    ("SGD", "sgd", "No perturbation; the same for every m. The baseline that everything is compared with."),
    ("n-SAM", "nsam", "Perturbs along the gradient of the whole training set (m = n). It lacks the noise penalty."),
    (
        "m-SAM",
        "sam",
        "Perturbs each micro-batch of m samples by itself; m = B is plain SAM. Small m costs parallelism.",
    ),
    (
        "RW-SAM",
        "rwsam",
        "One perturbation a batch, sharp samples weighted by λ: meant as a cheap stand-in for small m.",
    ),
)
HUE = {"sgd": "blue", "nsam": "orange", "sam": "green", "rwsam": "violet"}

LIMITS = """
- It holds **at this ρ**. With ρ tuned for each m, plain SAM was as good in separate runs; too large a ρ collapses
  training.
- The accuracy gain comes with label noise: smaller m **memorises fewer wrong labels** (see the train loss). In separate
  runs, SGD stopped early or with weight decay beat all of these while being sharper; with clean labels no effect of m
  on accuracy was detected.
- tr(*V*) means little without the train loss: a network that fits every sample has none.
- It is one small network on one small data set. No claim is made about others: run them.

The separate runs, with the command of each, are in `docs/LOG.md`.
"""
