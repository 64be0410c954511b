"""Two real browsers behind one small interface: Chromium by Playwright, Firefox by WebDriver BiDi."""
