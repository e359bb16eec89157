"""Pages and plots: values in, HTML out."""
