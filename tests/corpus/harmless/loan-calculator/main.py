from decimal import ROUND_HALF_UP, Decimal


def annuity(input, context):
    amount, rate, months = Decimal(str(input["amount"])), Decimal(str(input["rate"])) / 1200, int(input["months"])
    if rate == 0:
        return {"monthly": str((amount / months).quantize(Decimal("0.01"), ROUND_HALF_UP))}
    factor = (1 + rate) ** months
    return {"monthly": str((amount * rate * factor / (factor - 1)).quantize(Decimal("0.01"), ROUND_HALF_UP))}
