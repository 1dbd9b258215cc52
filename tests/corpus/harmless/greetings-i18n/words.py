GREETINGS = {
    "en": "Hello, {name}!",
    "de": "Grüß dich, {name}!",
    "ru": "Привет, {name}!",
    "el": "Γειά σου, {name}!",
    "ar": "مرحبا {name}",
    "he": "שלום {name}",
    "hi": "नमस्ते {name}",
    "ja": "こんにちは、{name}さん",
    "fa": "سلام {name}‌!",
    "emoji": "👩‍👩‍👧‍👦 👋🏽 {name} ❤️",
}
