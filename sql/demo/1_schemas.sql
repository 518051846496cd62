-- The three floors of the pipeline: files as they came, cleaned rows, and tables for dashboards.
CREATE SCHEMA IF NOT EXISTS raw;
CREATE SCHEMA IF NOT EXISTS processed;
CREATE SCHEMA IF NOT EXISTS analytics;
