//! Wire types of the gemini format.
