"""Test Settings: send a test message step by step, and say how each step went.

``results`` holds the values, ``texts`` the words. ``runner`` loads the SMTP code: import it late.
"""
