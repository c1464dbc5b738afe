"""One self-contained HTML page of what a run, a benchmark or a training has left in its folder."""
