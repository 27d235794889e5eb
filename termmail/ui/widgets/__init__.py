"""Widgets own pixels: attributes go down, messages go up, and messages carry ids."""
