"""Run the demo: ``python -m scripts.demo``."""

if __name__ == "__main__":
    # Worker processes import this file again, and need nothing of the workflow, which takes seconds to import.
    from scripts.demo.workflow import main

    main()
