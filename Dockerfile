# syntax=docker/dockerfile:1
# One image for every command: serve (default), work, setup, keys. Debian, since Temporal's SDK has no musl build.

FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# Scripts off: "prepare" would build before the sources are here.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
COPY workflows ./workflows
COPY activities ./activities
COPY workers ./workers
COPY bench ./bench
# Compiles, and bundles the workflows ahead, so that a worker starts without webpack.
RUN npm run build

FROM node:20-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:20-bookworm-slim
ENV NODE_ENV=production \
    ANNALS_HTTP_HOST=0.0.0.0 \
    ANNALS_HTTP_PORT=4100 \
    ANNALS_DATA_DIR=/var/lib/annals
WORKDIR /app
# Temporal's SDK speaks TLS by the system's root certificates, which the slim image lacks. The folder of the keys
# belongs to the user that runs, so that a fresh volume mounted there does too.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o node -g node -m 0700 /var/lib/annals /var/lib/annals/keys
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
# By number (it is "node"), so that a cluster can see that it is not root.
USER 1000:1000
EXPOSE 4100
# For the API; docker-compose.yml says what a worker's is.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.ANNALS_HTTP_PORT}/readyz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/src/cli/main.js"]
CMD ["serve"]
