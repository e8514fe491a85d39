//! Search spaces, samplers, and studies that resume.
