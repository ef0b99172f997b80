"""`/health`: the process runs. `/ready`: requests are answered."""

import httpx


def test_a_server_with_a_stopped_engine_is_healthy_and_not_ready(url, chat):
    assert httpx.get(f"{url}/ready").status_code == 200
    chat.is_healthy = False
    assert httpx.get(f"{url}/health").status_code == 200
    answer = httpx.get(f"{url}/ready")
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert error["code"] == "unavailable"
    assert error["message"] == "The engine of scripted has stopped after an error. Restart the server."
