"""Alerts on the board: rules on the demo, and the log, tests and notifications of a hub that a test plays."""

import re
from typing import Any, Final

import pytest
from playwright.sync_api import Page, Route, expect
from tests.browser.conftest import Open
from tests.browser.playing import NOW, Played, symbol
from tests.browser.reading import wait_until

pytestmark = pytest.mark.timeout(120)

RULE: Final = {
    "name": "dips",
    "where": "rsi < 30",
    "screen": "",
    "timeframe": "15m",
    "symbols": [],
    "clear": "",
    "cooldown": 4,
    "forming": False,
    "min_score": 0.0,
    "side": "",
    "to": ["phone"],
    "enabled": True,
    "origin": "board",
    "failure": "",
    "armed": 3,
    "fired": 2,
}


def alert(number: int, **more: Any) -> dict[str, Any]:
    """Make an entry of the log."""
    usual = {
        "id": number,
        "key": f"{number:012x}",
        "rule": "dips",
        "symbol": "AUSDT",
        "pair": "A/USDT:USDT",
        "timeframe": "15m",
        "bar_open_time": NOW - 900_000,
        "time": NOW,
        "price": 1.5,
        "change": -1.0,
        "change_24h": -2.0,
        "turnover": 1e6,
        "side": "long",
        "score": 44.0,
        "contributions": {"trend": 30.0, "rsi": 14.0},
        "columns": {"rsi": 28.0},
        "forming": False,
        "stale": None,
        "link": "",
        "deliveries": [],
    }
    return {**usual, **more}


def delivered(target: str, state: str, detail: str = "") -> dict[str, Any]:
    return {"target": target, "state": state, "attempts": 1, "detail": detail, "time": NOW}


# What two targets say of a test message.
ANSWERS: Final = [
    {"target": "phone", "ok": True, "detail": ""},
    {"target": "desk", "ok": False, "detail": "wrong token"},
]
# Stands in for the browser's own, which no test can see.
NOTIFICATION: Final = """
    window.told = [];
    window.Notification = class {
        static permission = "default";
        static async requestPermission() {
            window.asked = true;
            return (this.permission = "granted");
        }
        constructor(title, { body }) { told.push(`${title}: ${body}`); }
        close() {}
    };
"""

KNOWN: Final = (
    "async () => (await import('/board/js/alert_book.js')).book.log.filter((one) => one.id > 1).length"
)


class Desk:
    """Answers in place of the hub what is asked of alerts, and plays the hub itself."""

    def __init__(self, *log: dict[str, Any]) -> None:
        self.hub = Played([symbol("AUSDT"), symbol("BUSDT")])
        self._answers = {"alerts": [*log], "rules": [RULE], "targets": [], "rules/test": ANSWERS}

    def take_over(self, page: Page) -> None:
        self.hub.take_over(page)
        page.route(re.compile("/api/v1/(alerts|rules|targets)"), self._answer)

    def _answer(self, route: Route) -> None:
        name = route.request.url.split("/api/v1/")[1].split("?")[0]
        route.fulfill(json=self._answers[name])


def test_a_filter_becomes_a_rule_that_is_changed_and_deleted(look: Open) -> None:
    page = look("?where=rsi<40")
    page.get_by_role("button", name="Alert", exact=True).click()
    where = page.get_by_label("Fires when")
    expect(where).to_have_value("rsi<40")
    page.get_by_role("textbox", name="Name", exact=True).fill("dips")

    where.fill("rsii < 40")
    expect(page.locator("#rule-where-said")).to_contain_text("Did you mean 'rsi'?")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".rule-form > [role=alert]")).to_contain_text("Did you mean 'rsi'?")
    where.fill("rsi < 40")
    expect(page.locator("#rule-where-said")).to_contain_text("now.")
    page.get_by_role("button", name="Save").click()

    rule = page.locator(".rule", has_text="dips")
    expect(rule).to_contain_text("rsi < 40")
    rule.get_by_role("switch").uncheck()
    expect(page.locator(".rule.off")).to_be_visible()
    rule.get_by_role("button", name="Edit").click()
    page.get_by_label("Again when").fill("rsi > 50")
    page.get_by_role("button", name="Save").click()
    expect(rule).to_contain_text("again after rsi > 50")
    rule.get_by_role("button", name="Delete").click()
    rule.get_by_role("button", name="Yes, delete it").click()
    expect(page.locator(".rule")).to_have_count(0)


def test_a_rule_is_tried_out_and_each_target_answers(look: Open) -> None:
    page = look(before=Desk().take_over)
    page.get_by_role("button", name="Alerts").click()
    page.get_by_role("tab", name="Rules").click()

    page.get_by_role("button", name="Test").click()

    answers = page.locator(".rule .delivery")
    expect(answers).to_have_text([re.compile("phone.*took"), re.compile("desk.*did not.*wrong token")])


def test_the_log_says_what_fired_and_what_became_of_it_newest_first(look: Open) -> None:
    log = [
        alert(1, deliveries=[delivered("phone", "sent")]),
        alert(
            2,
            symbol="BUSDT",
            rule="tops",
            side="",
            deliveries=[delivered("desk", "given_up", "401: wrong token")],
        ),
    ]
    page = look(before=Desk(*log).take_over)
    expect(page.locator(".bell-count")).to_have_text("2")

    page.get_by_role("button", name="Alerts").click()

    rows = page.locator(".log-row")
    expect(rows).to_have_text(
        [re.compile("BUSDT.*tops.*desk.*given up.*401"), re.compile(r"AUSDT.*rsi 28.*phone sent")]
    )
    expect(page.locator(".bell-count")).to_be_hidden()
    page.get_by_placeholder("Symbol").last.fill("aus")
    expect(rows).to_have_count(1)
    rows.get_by_role("link").click()
    expect(page).to_have_url(re.compile(f"symbol=AUSDT.*at={NOW}|at={NOW}.*symbol=AUSDT"))


def test_notifications_are_off_until_they_are_turned_on_and_a_storm_is_one(look: Open) -> None:
    desk = Desk()

    def before(page: Page) -> None:
        page.clock.install()
        page.add_init_script(NOTIFICATION)
        desk.take_over(page)

    page = look(before=before)
    page.get_by_role("button", name="Alerts").wait_for()
    desk.hub.say({"type": "alert", "alert": alert(1)})
    expect(page.locator(".bell-count")).to_have_text("1")
    assert page.evaluate("window.asked") is None
    page.get_by_role("button", name="Alerts").click()
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator(".notify-line")).to_contain_text("are on")

    # All come within the second in which they are gathered, however busy the machine is.
    page.clock.pause_at(page.evaluate("Date.now() / 1000 + 5"))
    for number in range(2, 202):
        desk.hub.say({"type": "alert", "alert": alert(number, rule="tops" if number % 4 else "dips")})
    wait_until(page, lambda: page.evaluate(KNOWN) == 200)
    page.clock.run_for(1_000)

    assert page.evaluate("told") == [
        "200 alerts: tops 150 · dips 50\nAUSDT, AUSDT, AUSDT, AUSDT, AUSDT … +195"
    ]
