#!/usr/bin/env python3
"""Makes crates/ledger/data/prices.json out of LiteLLM's list of model prices (MIT, see NOTICE).

    pip download --no-deps litellm==1.109.1 -d DIR && unzip DIR/litellm-*.whl '*model_prices*' -d DIR
    tools/prices.py DIR/litellm/model_prices_and_context_window_backup.json "litellm 1.109.1" > crates/ledger/data/prices.json

Prices become whole picodollars per token. What is not exact stops the script; what has no place in our rules is listed
on stderr.
"""

import json
import re
import sys
from collections import Counter
from decimal import Decimal

PROVIDERS = ("openai", "anthropic", "gemini")
MODES = ("chat", "responses", "embedding", "realtime", "audio_speech", "audio_transcription", "image_generation")
PICO = Decimal(10) ** 12

# LiteLLM's name without tier and threshold -> our class.
CLASSES = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_short",
    "cache_creation_input_token_cost_above_1hr": "cache_write_long",
    "cache_creation_input_token_cost_above_12hr": "cache_write_long",
    "input_cost_per_audio_token": "audio_input",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "output_cost_per_audio_token": "audio_output",
    "output_cost_per_image_token": "image_output",
}
TIERS = {"batches": "batch", "flex": "flex", "priority": "priority", "ultrafast": "ultrafast"}
NAME = re.compile(r"^(?P<base>.+?)(?:_above_(?P<thousands>\d+)k_tokens)?(?:_(?P<tier>batches|flex|priority|ultrafast))?$")


def pico(price: Decimal, where: str) -> int:
    exact = Decimal(price) * PICO
    if exact != exact.to_integral_value() or exact < 0:
        sys.exit(f"{where}: {price} is no whole number of picodollars")
    return int(exact)


def searches(entry: dict) -> dict:
    """The price of a search, where it depends neither on a size nor on a free quota: neither is known per request."""
    sizes = set((entry.get("search_context_cost_per_query") or {}).values())
    if len(sizes) != 1 or entry.get("search_free_requests"):
        return {}
    return {"web_search": pico(sizes.pop(), "search")}


def rates(model: str, entry: dict, left_out: Counter) -> dict:
    found = {}
    for name, price in entry.items():
        match = NAME.match(name)
        if "cost" not in name or isinstance(price, dict) or price is None:
            continue
        if match["base"] not in CLASSES:
            left_out[name] += 1
            continue
        key = CLASSES[match["base"]]
        key += f".{TIERS[match['tier']]}" if match["tier"] else ""
        key += f">{int(match['thousands']) * 1000}" if match["thousands"] else ""
        found[key] = pico(price, f"{model}/{name}")
    return found | searches(entry)


def surcharges(prices: dict, entry: dict) -> dict:
    """What Anthropic asks for fast answers and for those that are made in the US alone: a multiple of the price of every token."""
    factors = entry.get("provider_specific_entry") or {}
    fast, us = factors.get("fast"), factors.get("us")
    found = {}
    for key, price in prices.items():
        if key == "web_search":
            continue
        name, above, threshold = key.partition(">")
        base, _, tier = name.partition(".")
        tiers = {"": [("fast", fast), ("us", us), ("fast_us", fast and us and fast * us)], "batch": [("batch_us", us)]}
        for other, factor in tiers.get(tier, []):
            if factor:
                found[f"{base}.{other}{above}{threshold}"] = pico(Decimal(price) * factor / PICO, f"{key} {other}")
    return prices | found


def models(names: str) -> str:
    """Fine-tuned models are called ft:BASE:organisation:name:id."""
    return names + ":*" if names.startswith("ft:") else names


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        entries = json.load(file, parse_float=Decimal, parse_int=Decimal)
    left_out: Counter = Counter()
    grouped: dict = {}
    for model, entry in sorted(entries.items()):
        provider = entry.get("litellm_provider")
        if provider not in PROVIDERS or entry.get("mode") not in MODES:
            continue
        name = model.removeprefix("gemini/")
        prices = surcharges(rates(model, entry, left_out), entry)
        if "/" in name or not {"input", "output"} & prices.keys():
            continue
        per_piece = any("per_second" in key or key.endswith("per_image") for key in entry)
        if not any(prices.values()) and (per_piece or not name.startswith(("gemma", "omni-moderation"))):
            continue  # a zero that only means: not priced by the token, or not priced at all
        key = (provider, json.dumps(prices, sort_keys=True))
        names = grouped.setdefault(key, [])
        if models(name) not in names:
            names.append(models(name))
    rules = [{"provider": p, "models": names, "rates": json.loads(r)} for (p, r), names in grouped.items()]
    seen = Counter((rule["provider"], name) for rule in rules for name in rule["models"])
    if twice := [name for name, times in seen.items() if times > 1]:
        sys.exit(f"two prices for {twice}")
    lines = ",\n".join(json.dumps(rule, separators=(",", ":")) for rule in rules)
    print(f'{{"source":"{sys.argv[2]}, MIT, see NOTICE; made by tools/prices.py","rules":[\n{lines}\n]}}')
    print(f"{len(seen)} models in {len(rules)} rules; left out: {dict(left_out)}", file=sys.stderr)


main()
