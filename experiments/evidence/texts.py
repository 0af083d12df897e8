"""What the page says in words that no number changes."""

HEAD = """\
# Evidence: who collapses in NAS-Bench-201

DrNAS's table 4 says that DARTS ends in skip connections (54.30 % on CIFAR-10, four times of four) and
DrNAS next to the best cell there is (94.36 of 94.37 %). Here the same question is asked at a scale that
two processors carry, and every answer stands beside its number of searches. This page is written by
`make evidence` from the records in [experiments/evidence/results](../experiments/evidence/results);
nothing in it is typed by hand but what is known from elsewhere.

**What was run.** `experiment=drnas/nb201_collapse`
([conf](../conf/experiment/drnas/nb201_collapse.yaml)): CIFAR-10, 1,000 images for the weights and 1,000
for the architecture, one cell a stage, 120 epochs of which the weights learn alone for 40. The paper:
25,000 + 25,000 images, five cells a stage, 100 epochs, no warm-up. The setting was chosen on seeds 0 to
2 because searches collapse in it; rows count seeds from 10 on. Accuracies are the table's after 200
epochs of training, mean of its trials, in per cent. A row of the table is the overrides in
[rows.yaml](../experiments/evidence/rows.yaml)."""

# By `LEVEL`, `ALPHA` and `LEAST` of `claims.py`.
RULES = """\
- *Collapsed* is a search whose result has a skip connection on each of its six edges: the cell of the
  paper's 54.30.
- A share of collapsed searches has Clopper and Pearson's exact 95 % interval. "Most" is said where all
  of the interval is above one half, "fewer than half" where all of it is below, "open" otherwise. A
  claim of "always" or "never" is called refuted at this scale by one search that does otherwise, and
  never proven by any number. How many skip connections the others have stands beside it.
- Rows are compared seed by seed with the first row by a permutation of signs on two sides, exact up to
  16 pairs. "Above" or "below" is said where Holm's p over all finished comparisons of the page is at
  most 0.05; else "not shown", with the smallest p that so many pairs could have given and the pairs
  that a difference of this size would need.
- The eigenvalue is asked half of the way, at epoch 60, of searches that have not collapsed by then: those
  that will and those that will not, by Mann-Whitney's exact test, with Holm's p over the rows asked.
- Results are "better" or "worse" than random cells where more or fewer of them lie above the median of all
  cells than chance allows: exact binomial test on two sides, Holm's p over all rows at most 0.05, from 6
  searches on.
- With fewer than 4 finished searches of a row nothing is concluded from it: "too few".
- Intervals of means are bootstrap intervals (BCa); at n = 8 they hold the mean in 87 of 100 cases
  rather than 95 ([sweeps.md](sweeps.md))."""

KNOWN = """\
- On the digits in the DARTS space, searched and random cells are equal: 98.89 and 98.94 %.
- The 2.76 % test error of DARTS in its own space is about the expected best of eight random cells of
  that space.
- The recurrent cell that is found at our reduced scale is mostly identity (7 of 8 nodes), and the
  authors' own code at that scale does the same: the scale is at fault, not the code.
- Three runs against three cannot show any difference by a rank test (smallest p 0.1); four against four
  can (0.03).
- Seeds 0 to 2 chose the setting and are not in the tables: from them `darts1` ended at 54.3, 84.2 and
  88.8 %, `drnas_nb201` at 84.4, 54.3 and 87.5 %. Each collapsed once, and the first seed alone would
  have "reproduced" the paper.
- Without the warm-up neither collapsed (91.9 and 89.5 % after 100 epochs, one seed)."""
