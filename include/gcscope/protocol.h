/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire contract between the agent and its clients; doc/PROTOCOL.md says the same in prose.
 *
 * A connection carries text. The agent speaks first (one hello line); after that each request is one
 * line `VERB key=value ...\n` and each answer one JSON object on one line. Subscriptions add event
 * lines, which may stand between answers. A value is percent-encoded where it holds white space,
 * '%' or control characters. Names and numbers here are never reused for something else.
 */
#ifndef GCSCOPE_PROTOCOL_H
#define GCSCOPE_PROTOCOL_H

#define GCS_PROTOCOL_VERSION 1

/* Limits that both ends rely on. */
#define GCS_REQUEST_MAX 4096            /* bytes in a request line, newline included */
#define GCS_REQUEST_PAIRS 16            /* key=value pairs in a request */
#define GCS_CLIENTS_MAX 32              /* simultaneous clients of one agent */
#define GCS_QUEUE_EVENTS (256 * 1024)   /* unsent bytes at which a client begins to lose events */
#define GCS_QUEUE_MAX (4 * 1024 * 1024) /* unsent bytes at which a client is dropped */
#define GCS_NAME_MAX 200                /* bytes of a type's name; a longer one ends in "..." */

/* Schemas: "gcscope.<name>/1". */
#define GCS_SCHEMA(name) "gcscope." name "/1"

/* Verbs. */
#define GCS_VERB_INFO "info"               /* what `ps` shows of this agent */
#define GCS_VERB_STAT "stat"               /* gc, process and agent statistics */
#define GCS_VERB_CENSUS "census"           /* limit=N sort=count|bytes|growth cached=0|1 */
#define GCS_VERB_SUSPECTS "suspects"       /* limit=N */
#define GCS_VERB_COLLECT "collect"         /* generation=0..2 */
#define GCS_VERB_CYCLES "cycles"           /* limit=N */
#define GCS_VERB_GARBAGE "garbage"         /* limit=N: objects in the answer */
#define GCS_VERB_HISTORY "history"         /* type=NAME limit=N */
#define GCS_VERB_SUBSCRIBE "subscribe"     /* topics=gc,census,suspects,log */
#define GCS_VERB_UNSUBSCRIBE "unsubscribe" /* topics=... (all when absent) */

/* Topics of a subscription, as bits. */
enum gcs_topic {
	GCS_TOPIC_GC = 1 << 0,       /* one event per collection */
	GCS_TOPIC_CENSUS = 1 << 1,   /* one event per completed census */
	GCS_TOPIC_SUSPECTS = 1 << 2, /* "suspect" and "withdrawn" */
	GCS_TOPIC_LOG = 1 << 3,      /* what GCSCOPE_LOG would get, as gcscope.log/1 */
	GCS_TOPIC_CYCLES = 1 << 4,   /* nothing of cycles is sent while they are off */
};

/* error.code of a gcscope.error/1 answer. */
#define GCS_ERR_UNKNOWN_VERB "unknown_verb"
#define GCS_ERR_BAD_REQUEST "bad_request" /* malformed line, unknown key, bad value */
#define GCS_ERR_TOO_LONG "too_long"       /* the line exceeded GCS_REQUEST_MAX; the connection ends */
#define GCS_ERR_UNAVAILABLE "unavailable" /* the feature is off here; message says why */
#define GCS_ERR_NOT_FOUND "not_found"     /* no such type */
#define GCS_ERR_NO_MEMORY "no_memory"     /* GCSCOPE_MEMORY is used up */

#endif
