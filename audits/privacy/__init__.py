"""Audits of what defences promise: attacks on canaries give lower bounds, beside the accountant's upper bounds."""
