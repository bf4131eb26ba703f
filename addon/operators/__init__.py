"""Thin: context -> plain function -> report."""
