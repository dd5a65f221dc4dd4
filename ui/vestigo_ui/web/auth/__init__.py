"""Sign-in: sessions, users, OpenID."""
