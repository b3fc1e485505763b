"""What can be done to a lab while it runs: one file an action, found by its registry.

The same action stands in a topology's ``timeline:`` and behind ``narrows fault``; what it does to a lab it
says through ``base.FaultLab``, so that it means the same in every back end.
"""
