"""What a run looks like: tables, plots and the HTML report, made from a run directory."""
