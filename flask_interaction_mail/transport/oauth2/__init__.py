"""Asks a token service for access tokens (RFC 6749).

A module of our own, on the standard library and ``cryptography``: each library that was tried
(msal, google-auth, Authlib, requests-oauthlib, httpx-oauth) follows a redirect with the secret,
looks the host's name up itself, so that no connect policy can hold it, and reads an answer of any
length. What is left to do is one form, one JSON object and one signature. A host that wants a
library brings the token itself: see the page *OAuth* of the documentation.
"""
