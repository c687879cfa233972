"""The agents that decide, the effectors that act, and the runtime that records every message between them."""
