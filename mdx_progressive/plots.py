"""The bounds chart, with one-pass below, the oracle above and the methods between; and the gallery of schedules."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from mdx_progressive.results import Comparison, pick
from mdx_progressive.schedules import Schedule

LABELS = {
    "si_sdr": "SI-SDR (dB)",
    "si_sdr_i": "SI-SDR improvement (dB)",
    "sdr": "SDR (dB)",
    "bsseval_sdr": "SDR, BSSEval v4 (dB)",
    "bsseval_isr": "ISR, BSSEval v4 (dB)",
    "bsseval_sir": "SIR, BSSEval v4 (dB)",
    "bsseval_sar": "SAR, BSSEval v4 (dB)",
}


def curves_figure(comparison: Comparison, metric: str) -> Figure:
    """A panel for each source: the mean over songs as a line, from the lowest to the highest song as a band.

    Args:
        comparison: What was found. The one value of the lower bound is drawn across all steps.
        metric: Name of the metric.
    """
    means, caption, floor, ceiling, between = comparison
    sources = [source for source in means["source"].unique() if pick(means, metric, floor, source)["songs"].gt(0).any()]
    figure = Figure(figsize=(max(1, len(sources)) * 4.4, 4.0), layout="constrained")
    axes = figure.subplots(1, max(1, len(sources)), squeeze=False)[0]
    bands = int(means["songs"].max()) > 1
    for axis, source in zip(axes, sources, strict=False):
        for number, method in enumerate(between):
            curve = pick(means, metric, method, source)
            (line,) = axis.plot(curve.index, curve["mean"], marker="o", markersize=3, label=method, color=f"C{number}")
            if bands:
                axis.fill_between(curve.index, curve["min"], curve["max"], alpha=0.12, color=line.get_color(), lw=0)
        if ceiling is not None:
            bound = pick(means, metric, ceiling, source)
            axis.plot(bound.index, bound["mean"], "--", color="0.35", label=f"{ceiling} (upper bound)")
        one_pass = float(pick(means, metric, floor, source)["mean"].iloc[0])
        axis.axhline(one_pass, color="0.35", linestyle=":", label=f"{floor} (lower bound)")
        axis.set(title=source, xlabel="step")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel(LABELS.get(metric, metric))
    figure.suptitle(caption + ("; band from the lowest to the highest song" if bands else ""), fontsize="medium")
    if sources:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False)
    return figure


def schedules_figure(schedules: Sequence[Schedule], steps: int = 50) -> Figure:
    """The weights of several schedules over the progress of a run, each in a panel, the others behind it.

    Args:
        schedules: What to draw.
        steps: In how many steps.
    """
    columns = 4
    rows = -(-len(schedules) // columns)
    figure = Figure(figsize=(columns * 2.3, rows * 1.9), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    progress = [step / steps for step in range(steps + 1)]
    curves = [schedule.weights(steps).tolist() for schedule in schedules]
    for number, axis in enumerate(axes):
        if number >= len(schedules):
            axis.set_visible(False)
            continue
        for curve in curves:
            axis.plot(progress[1:], curve[1:], color="0.88", linewidth=0.8)
        axis.plot(progress[1:], curves[number][1:], color="C0")
        axis.set_title(type(schedules[number]).__name__, fontsize="small")
        axis.tick_params(labelsize="x-small")
    figure.supxlabel("progress n / N", fontsize="small")
    figure.supylabel("blend weight b", fontsize="small")
    return figure
