echo common {{ project }}
