-- What the pictures of a product show, for readers who do not see them: a JSON object from image ids to texts.
ALTER TABLE products ADD COLUMN image_alts TEXT;
