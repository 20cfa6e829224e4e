"""E-mail messaging for Flask applications that use Flask-Admin."""
