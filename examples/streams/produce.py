"""Publishes the readings of four weather stations; one of them is broken."""

import asyncio
import json

import nats


async def main() -> None:
    """Makes the stream, and publishes to it."""
    connection = await nats.connect("nats://127.0.0.1:4222")
    stream = connection.jetstream()
    await stream.add_stream(name="WEATHER", subjects=["weather.>"])
    for number in range(1, 5):
        celsius = 4.5 if number < 4 else "broken"
        reading = {"station": f"st-{number}", "read_at": "2026-01-05T10:00:00Z", "celsius": celsius}
        await stream.publish(f"weather.st-{number}", json.dumps(reading).encode())
    await connection.close()


asyncio.run(main())
