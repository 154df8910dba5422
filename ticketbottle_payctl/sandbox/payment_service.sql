-- The payment service's two tables, with the same column order, defaults and indexes as after its migrations. CANCELLED
-- was added to the enum last. "providerTransactionId" has no index, although the service's model says it is unique.
-- In production, the payment service owns these tables, and payctl never runs DDL on them. Only the sandbox uses this
-- file.

CREATE TYPE "PaymentStatus" AS ENUM ('PENDING', 'COMPLETED', 'FAILED', 'CANCELLED');
CREATE TYPE "Currency" AS ENUM ('VND');

CREATE TABLE "payments" (
    "id"                    TEXT            NOT NULL CONSTRAINT "payments_pkey" PRIMARY KEY,
    "providerTransactionId" TEXT            NOT NULL,
    "idempotencyKey"        TEXT            NOT NULL,
    "metadata"              JSONB,
    "createdAt"             TIMESTAMP(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"             TIMESTAMP(3)    NOT NULL,
    "completedAt"           TIMESTAMP(3),
    "failedAt"              TIMESTAMP(3),
    "status"                "PaymentStatus" NOT NULL,
    "orderCode"             TEXT            NOT NULL,
    "provider"              TEXT            NOT NULL,
    "redirectUrl"           TEXT            NOT NULL,
    "currency"              "Currency"      NOT NULL,
    "amountCents"           INTEGER         NOT NULL,
    "cancelledAt"           TIMESTAMP(3),
    "paymentUrl"            TEXT            NOT NULL
);
CREATE UNIQUE INDEX "payments_idempotencyKey_key" ON "payments" ("idempotencyKey");
CREATE UNIQUE INDEX "payments_orderCode_key" ON "payments" ("orderCode");
CREATE INDEX "payments_orderCode_idx" ON "payments" ("orderCode");

CREATE TABLE "outbox" (
    "id"            TEXT         NOT NULL CONSTRAINT "outbox_pkey" PRIMARY KEY,
    "aggregateId"   TEXT         NOT NULL,
    "aggregateType" TEXT         NOT NULL,
    "eventType"     TEXT         NOT NULL,
    "payload"       JSONB        NOT NULL,
    "published"     BOOLEAN      NOT NULL DEFAULT false,
    "publishedAt"   TIMESTAMP(3),
    "createdAt"     TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "retryCount"    INTEGER      NOT NULL DEFAULT 0,
    "lastError"     TEXT
);
CREATE INDEX "outbox_published_createdAt_idx" ON "outbox" ("published", "createdAt");
