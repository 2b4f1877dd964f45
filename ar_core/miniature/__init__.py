"""The miniature's weights and scorers: data only. `workshop/` makes them."""
