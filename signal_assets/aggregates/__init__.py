"""One-dollar aggregates: order-book depth and trades summed, exactly, into price buckets."""
