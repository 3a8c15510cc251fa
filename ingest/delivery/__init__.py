"""Events of the outbox, sent to subscriptions as webhooks."""
