"""The record of a run made readable: final_report.json, metrics.csv, metrics.json and report.html."""
