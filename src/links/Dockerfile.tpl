# Short names for long addresses: go/handbook. Two programs over one table of links.
ARG IMAGE_TAG=latest
FROM golinks-runtime:${IMAGE_TAG} AS table
COPY table.py ./
ENV LINK_TTL_DAYS={{LINK_TTL_DAYS}} DATABASE=/data/links.db
VOLUME /data

# Adds links and follows them.
FROM table AS api
COPY api.py first-links.json ./
ENV PORT={{API_PORT}}
EXPOSE {{API_PORT}}
CMD ["python3", "api.py"]

# Takes away those that nobody renewed.
FROM table AS sweeper
COPY sweeper.py ./
ENV SWEEP_EVERY={{SWEEP_EVERY}}
CMD ["python3", "sweeper.py"]
