"""Facts of Stripe's objects that the API shows."""

from tests.histories.deployment import deployed, every_order
from tests.histories.stripe import CALLS, NOVEMBER, OCTOBER, day, invoice, item, line, sent, subscription


async def test_usage_in_fractions_is_not_rounded_away() -> None:
    """Meters sum decimals; Stripe truncates `quantity` and says the whole of it in `quantity_decimal`."""
    bill = invoice(
        "paid",
        line(),
        line("il_2", 3, CALLS, OCTOBER, quantity=0),
        line("il_3", 121, CALLS, OCTOBER, quantity=12),
        amount_paid=2124,
        paid_at=NOVEMBER.start,
    )
    for rendered, decimal in zip(bill["lines"]["data"][1:], ("0.6", "12.1"), strict=True):
        rendered["quantity_decimal"] = decimal
    events = (
        sent("customer.subscription.updated", subscription("active", item(), item(CALLS)), "2026-11-01"),
        sent("invoice.paid", bill, "2026-11-01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            used = (await deployment.tenant()).usage
            assert {each: used[each]["quantity_decimal"] for each in used} == {"il_2": "0.6", "il_3": "12.1"}
            assert {each: (used[each]["quantity"], used[each]["amount"]) for each in used} == {
                "il_2": (1, 3),
                "il_3": (12, 121),
            }


async def test_a_half_is_rounded_to_the_even_integer_and_shown_exactly() -> None:
    """The integer is for readers that know no fractions; every process rounds it alike."""
    lines = [line(f"il_{n}", 1, CALLS, OCTOBER, quantity=int(float(n))) for n in ("0.5", "1.5", "2.5", "3")]
    bill = invoice("paid", *lines, amount_paid=4, paid_at=NOVEMBER.start)
    for rendered in bill["lines"]["data"]:
        rendered["quantity_decimal"] = rendered["id"].removeprefix("il_") + "00" * ("." in rendered["id"])
    events = (
        sent("customer.subscription.updated", subscription("active", item(), item(CALLS)), "2026-11-01"),
        sent("invoice.paid", bill, "2026-11-01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            used = (await deployment.tenant()).usage.values()
            assert {each["quantity_decimal"]: each["quantity"] for each in used} == {
                "0.5": 0,
                "1.5": 2,
                "2.5": 2,
                "3": 3,
            }


async def test_a_line_whose_fraction_is_corrected_bills_the_last_one() -> None:
    """Rounded to integers the two are equal, so that only the exact quantity tells them apart."""
    bills = []
    for decimal in ("0.6", "0.75"):
        bills.append(invoice("open", line("il_1", 3, CALLS, OCTOBER, quantity=0)))
        bills[-1]["lines"]["data"][0]["quantity_decimal"] = decimal
    events = (
        sent("customer.subscription.updated", subscription("active", item(), item(CALLS)), "2026-11-01"),
        sent("invoice.finalized", bills[0], "2026-11-01"),
        sent("invoice.updated", bills[1], "2026-11-01 00:01", before=bills[0]),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            assert (await deployment.tenant()).usage["il_1"]["quantity_decimal"] == "0.75"
