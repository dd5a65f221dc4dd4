"""The colours of the app and of the sign-in pages."""

LIGHT = {
    "primaryColor": "#0f766e",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f3f5f5",
    "textColor": "#1c2826",
    "borderColor": "#d9e0df",
}
DARK = {
    "primaryColor": "#2dd4bf",
    "backgroundColor": "#101716",
    "secondaryBackgroundColor": "#1a2423",
    "textColor": "#e6eceb",
    "borderColor": "#2c3a38",
}
