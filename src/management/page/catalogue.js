// What queues, exchanges and policies can be told, in words. Each entry: `[name, kind, label, hint, options]`.

const QUEUE = {
  "Time": [
    ["message-ttl", "number", "Message TTL", "Milliseconds that a message may wait."],
    ["expires", "number", "Expires", "Milliseconds without use after which the queue is deleted."],
  ],
  "Length": [
    ["max-length", "number", "Maximum length", "Messages that may be ready."],
    ["max-length-bytes", "number", "Maximum bytes", "Bytes of bodies that may be ready."],
    ["overflow", "choice", "Overflow", "What happens beyond the maximum.", ["drop-head", "reject-publish", "reject-publish-dlx"]],
  ],
  "Dead letters": [
    ["dead-letter-exchange", "text", "Dead letter exchange", "Where rejected, expired and dropped messages go."],
    ["dead-letter-routing-key", "text", "Dead letter routing key", "Instead of the key that the message has."],
    ["dead-letter-strategy", "choice", "Dead letter strategy", "Whether one may be lost on its way.", ["at-most-once", "at-least-once"]],
    ["delivery-limit", "number", "Delivery limit", "Deliveries after which a message is a dead letter."],
  ],
  "Delivery": [
    ["consumer-timeout", "number", "Consumer timeout", "Milliseconds within which a consumer has to ack."],
    ["delayed-retry-type", "choice", "Delayed retry", "Which returned messages wait.", ["disabled", "all", "failed", "returned"]],
    ["delayed-retry-min", "number", "Delayed retry, least", "Milliseconds before the first retry."],
    ["delayed-retry-max", "number", "Delayed retry, most", "Milliseconds before any retry."],
  ],
};

// Only at declaration, not by policy.
const QUEUE_ONLY = {
  "Delivery": [
    ["max-priority", "number", "Maximum priority", "Priorities from 0 to this, at most 255."],
    ["single-active-consumer", "flag", "Single active consumer", "One consumer at a time, the next one when it is gone."],
    ["group-key", "text", "Group key", "A header, or the word routing-key: messages of a group are consumed one by one, in order."],
  ],
  "No duplicates": [
    ["message-deduplication", "flag", "Deduplication", "Drops messages whose x-deduplication-header is known."],
    ["cache-size", "number", "Known messages", "How many keys are remembered."],
    ["cache-ttl", "number", "Remembered for", "Milliseconds."],
  ],
};

const EXCHANGE = {
  "Routing": [["alternate-exchange", "text", "Alternate exchange", "Where messages go that no binding wants."]],
};

const prefixed = (entry, prefix) => [prefix + entry[0], ...entry.slice(1)];

function merged(...catalogues) {
  const all = {};
  for (const catalogue of catalogues) {
    for (const [group, entries] of Object.entries(catalogue)) (all[group] ??= []).push(...entries);
  }
  return all;
}

function withPrefix(catalogue, prefix) {
  return Object.fromEntries(Object.entries(catalogue).map(([group, entries]) => [group, entries.map((one) => prefixed(one, prefix))]));
}

export const QUEUE_ARGUMENTS = withPrefix(merged(QUEUE, QUEUE_ONLY), "x-");

export const EXCHANGE_ARGUMENTS = merged(EXCHANGE, {
  "Delayed messages": [
    ["x-delayed-type", "choice", "Routes as", "The type behind x-delayed-message.", ["direct", "fanout", "topic", "headers"]],
    ["x-delayed-exchange", "flag", "Delays", "Any exchange: holds messages back by their x-delay header."],
  ],
  "Consistent hash": [["hash-header", "text", "Hash header", "Hash this header instead of the routing key."]],
  "Recent history": [["x-recent-history-length", "number", "History", "Messages that a new binding gets."]],
  "No duplicates": [
    ["x-message-deduplication", "flag", "Deduplication", "Drops messages whose x-deduplication-header is known."],
    ["x-cache-size", "number", "Known messages", "How many keys are remembered."],
    ["x-cache-ttl", "number", "Remembered for", "Milliseconds."],
  ],
});

export const BINDING_ARGUMENTS = {
  "Headers exchange": [["x-match", "choice", "Match", "How many headers must fit.", ["all", "any", "all-with-x", "any-with-x"]]],
};

export const POLICY_KEYS = merged(QUEUE, EXCHANGE, {
  "Delayed messages": [["delayed-message", "flag", "Delays", "Exchanges hold messages back by their x-delay header."]],
});

// RabbitMQ: operator policies may only limit.
export const OPERATOR_KEYS = {
  "Limits": Object.values(QUEUE)
    .flat()
    .filter(([name]) => ["message-ttl", "expires", "max-length", "max-length-bytes", "overflow", "delivery-limit"].includes(name)),
};

export const EXCHANGE_TYPES = [
  "direct", "fanout", "topic", "headers", "x-consistent-hash", "x-delayed-message", "x-message-deduplication",
  "x-modulus-hash", "x-random", "x-recent-history",
];

export const VHOST_LIMITS = [["max-connections", "Connections"], ["max-queues", "Queues"]];
export const USER_LIMITS = [["max-connections", "Connections"], ["max-channels", "Channels"]];

export const TAGS = {
  administrator: "everything, users and virtual hosts, too",
  monitoring: "sees every connection, channel and the node",
  policymaker: "sets policies where permitted",
  management: "may log in here",
};
