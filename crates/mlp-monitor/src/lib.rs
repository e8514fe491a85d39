//! Rules, drift, late labels and data quality, alerts routed by severity.
